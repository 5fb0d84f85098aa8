"""Which concept was it: lists of concepts in balanced orders, and wordings that name one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.conversation import Conversation, Turns, checked, openings, question_turns
from introbench.prompts.latin_squares import balanced_orders

LABELS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""What options are labelled with: digits as far as there are enough of them, else letters."""


def identification(
    tokenizer: Any,
    *,
    concepts: Sequence[str],
    documents: Sequence[str],
    parts: Sequence[str],
    replicates: int,
    system: str | None,
    seed: int,
) -> Iterator[Conversation]:
    """Which concept was it: picked from a list, in balanced orders, or named after a prefilled yes.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        concepts: The concepts; the list has one more option, that nothing was injected.
        documents: Names of documents.
        parts: `list`, `naming` or both.
        replicates: How often every option stands at each place of the list.
        system: Content of the system turn, or None for no system turn.
        seed: Seed of the orders.

    Raises:
        InputError: There are too many concepts for labels of one token, or two that begin with the same token.
    """
    asked: list[tuple[str, str, Turns, Answers, dict[str, str]]] = []
    if "list" in parts:
        asked += _list_questions(concepts, replicates, seed)
    if "naming" in parts:
        named = Answers.of({concept: [f" {concept}"] for concept in concepts}, first_tokens=True, lens=True)
        identity = {concept: concept for concept in concepts}
        asked += [
            ("naming", each.id, question_turns(each.user, each.assistant), named, identity)
            for each in data.naming_questions()
        ]
    for document, prior in openings(tokenizer, documents, system).items():
        for part, item, turns, answers, options in asked:
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{part}.{item}",
                    messages=(*prior, *turns),
                    prior_messages=len(prior),
                    answers=answers,
                    factors={
                        "document": document,
                        "family": part,
                        "question": item,
                        "options": options,
                        "expected": "nothing",
                    },
                ),
            )


def _list_questions(
    concepts: Sequence[str], replicates: int, seed: int
) -> list[tuple[str, str, Turns, Answers, dict[str, str]]]:
    shown, options = data.list_question(), ["", *concepts]
    labels = next((each for each in LABELS if len(each) >= len(options)), "")
    if not labels:
        raise InputError(
            f"{len(concepts)} concepts: expected at most {len(LABELS[-1]) - 1}, so that each has a label of one token; "
            f"pass fewer, e.g. -T concepts=cats,bread"
        )
    answers = Answers.of({label: [label] for label in labels[: len(options)]}, lens=True)
    questions = []
    orders = balanced_orders(len(options), replicates, np.random.default_rng(seed))
    for number, order in enumerate(orders):
        by_label = {label: options[place] for label, place in zip(labels, order, strict=False)}
        lines = [shown.option.format(label=label, name=name or shown.nothing) for label, name in by_label.items()]
        turns = question_turns(shown.user.format(options="\n".join(lines)), shown.assistant)
        questions.append(("list", f"order-{number:02d}", turns, answers, by_label))
    return questions
