"""Conversations that ask which concept was injected: lists of concepts in balanced orders, and prefills to complete."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.conversation import Conversation, Turns, checked, openings, question_turns
from introbench.prompts.latin_squares import balanced_orders

LABELS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Labels of options: digits if there are enough of them, otherwise letters."""


@dataclass(frozen=True)
class _Question:
    """A question on which concept was injected, before it is put after a prior turn.

    Attributes:
        part: `list` or `naming`.
        name: Name of the question within its part.
        turns: The user's question and the assistant's prefill.
        answers: The answers that are read.
        options: The concept that each answer stands for, by the answer's name; "" for nothing.
    """

    part: str
    name: str
    turns: Turns
    answers: Answers
    options: Mapping[str, str]


def identification(
    tokenizer: Any,
    *,
    concepts: Sequence[str],
    documents: Sequence[str],
    parts: Sequence[str],
    replicates: int,
    system: str | None,
    seed: int,
    descriptions: Mapping[str, str] | None = None,
) -> Iterator[Conversation]:
    """Conversations in which the model picks the concept from a list, or names it after a prefilled yes.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        concepts: The concepts; the list has one more option, which says that nothing was injected.
        documents: Names of documents.
        parts: `list`, `naming` or both.
        replicates: How often every option stands at each place of the list.
        system: Content of the system turn, or None for no system turn.
        seed: Seed of the orders.
        descriptions: What concepts are called in the questions, where it is not their own name.

    Raises:
        InputError: There are too many concepts for labels of one token, or two concepts begin with the same token.
    """
    questions: list[_Question] = []
    called = {concept: concept for concept in concepts} | dict(descriptions or {})
    if "list" in parts:
        questions += _list_questions(called, replicates, seed)
    if "naming" in parts:
        questions += _naming_questions(called)
    for document, prior in openings(tokenizer, documents, system).items():
        for question in questions:
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{question.part}.{question.name}",
                    messages=(*prior, *question.turns),
                    prior_messages=len(prior),
                    answers=question.answers,
                    factors={
                        "document": document,
                        "family": question.part,
                        "question": question.name,
                        "options": question.options,
                        "expected": "nothing",
                    },
                ),
            )


def _list_questions(called: Mapping[str, str], replicates: int, seed: int) -> list[_Question]:
    """The list question in every order; `called` says what each concept is called there."""
    texts, options = data.list_question(), ["", *called]
    labels = next((labels for labels in LABELS if len(labels) >= len(options)), "")
    if not labels:
        raise InputError(
            f"{len(called)} concepts: expected at most {len(LABELS[-1]) - 1}, so that each has a label of one token; "
            f"pass fewer, e.g. -T concepts=cats,bread"
        )
    answers = Answers.of({label: [label] for label in labels[: len(options)]}, lens=True)
    questions = []
    orders = balanced_orders(len(options), replicates, np.random.default_rng(seed))
    for number, order in enumerate(orders):
        by_label = {label: options[option] for label, option in zip(labels, order, strict=False)}
        lines = [
            texts.option.format(label=label, name=called[name] if name else texts.nothing)
            for label, name in by_label.items()
        ]
        turns = question_turns(texts.user.format(options="\n".join(lines)), texts.assistant)
        questions.append(_Question("list", f"order-{number:02d}", turns, answers, by_label))
    return questions


def _naming_questions(called: Mapping[str, str]) -> list[_Question]:
    """The wordings whose prefilled answer is completed by a concept's name, or by what it is called."""
    answers = Answers.of({concept: [f" {words}"] for concept, words in called.items()}, first_tokens=True, lens=True)
    options = {concept: concept for concept in called}
    return [
        _Question("naming", wording.id, question_turns(wording.user, wording.assistant), answers, options)
        for wording in data.naming_questions()
    ]
