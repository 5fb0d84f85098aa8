"""The battery: the questions of the chosen families, in the chosen answer formats, under the chosen documents.

Where answers of several kinds are read, each wording is asked in some of the kinds; see `introbench.prompts.design`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from introbench.errors import InputError
from introbench.progress import tell
from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.conversation import (
    Conversation,
    Turns,
    checked,
    opening,
    openings,
    question_turns,
    yes_no,
    yes_no_turns,
)
from introbench.prompts.design import HALF, SINGLE, crossed
from introbench.prompts.own_questions import OwnQuestions
from introbench.prompts.schema import Question, reference_document


def battery(
    tokenizer: Any,
    *,
    documents: Sequence[str],
    families: Sequence[str],
    formats: Sequence[str] | None,
    system: str | None,
    lens: bool = False,
    cross: str = HALF,
    kinds: Sequence[str] | None = None,
    own: OwnQuestions | None = None,
) -> Iterator[Conversation]:
    """The conversations of the battery.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        documents: Names of documents.
        families: Names of question families.
        formats: Names of answer formats; None for one of each kind whose forms are single tokens of this model under
            the reference document, and the first of these under the other documents, where wordings are asked that it
            has under the reference document: half of them, unless all are asked in all kinds.
        system: Content of the system turn, or None for no system turn.
        lens: Whether the answers are also read after every block (logit lens).
        cross: In how many kinds of answers each wording is asked: one of `introbench.prompts.design.CROSSINGS`.
        kinds: The kinds of answers among which wordings take turns; None for those of the formats. Fewer wordings are
            asked where not all of these kinds are read.
        own: A user's own questions and documents, together with those of ours that stay; None for ours. Its digest is
            part of the conversations' names, so that a run that goes on with a changed file asks everything anew.

    Raises:
        InputError: The chat template or an answer form does not suit the experiment, or there is no such design.
    """
    answer_formats, all_questions = data.answer_formats(), data.questions() if own is None else own.questions
    mark = "" if own is None else f".{own.digest[:8]}"
    asked = [question for question in all_questions if question.family in families]
    readable = _readable_formats(tokenizer, system, asked) if formats is None else formats
    under_every_document = readable[:1] if formats is None else readable
    reference = reference_document(documents)
    read_kinds = tuple(dict.fromkeys(answer_formats[name].kind for name in readable))
    turns = read_kinds if kinds is None else kinds
    kinds_of = crossed(all_questions, answer_formats, turns, cross)
    # Other documents are read in one kind alone; half of what that kind has under the reference document is enough.
    elsewhere = crossed(all_questions, answer_formats, turns, SINGLE if cross == HALF and formats is None else cross)
    questions = [
        (question, answer_formats[name])
        for question in asked
        for name in question.formats
        if name in readable and answer_formats[name].kind in kinds_of[question.id]
    ]
    if not questions:
        raise InputError(
            f"families={', '.join(families)} with formats={', '.join(readable)}: no question is asked in these; "
            f"expected at least one; questions on salience are asked in yes-no"
        )
    for document, prior in openings(tokenizer, documents, system, own.documents if own else None).items():
        for question, answer_format in questions:
            under_reference_only = question.reference_only or answer_format.name not in under_every_document
            if under_reference_only and document != reference:
                continue
            if document != reference and answer_format.kind not in elsewhere[question.id]:
                continue
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{question.id}.{answer_format.name}{mark}",
                    messages=(
                        *prior,
                        *yes_no_turns(question.text, answer_format),
                    ),
                    prior_messages=len(prior),
                    answers=yes_no(answer_format, lens),
                    factors={
                        "document": document,
                        "family": question.family,
                        "question": question.id,
                        "format": answer_format.name,
                        "answer_kind": answer_format.kind,
                        "framing": question.framing,
                        "reversed": question.reversed,
                        "expected": question.expected,
                    },
                ),
            )


def unreadable_formats(tokenizer: Any, prior: Turns) -> dict[str, str]:
    """The answer formats whose forms are no single tokens of a model, each with the reason.

    Args:
        tokenizer: The model's tokenizer.
        prior: The prior turn that they are tried after.
    """
    reasons: dict[str, str] = {}
    for name, answer_format in data.answer_formats().items():
        turns = question_turns(answer_format.instruction, answer_format.prefill)
        chat = tokenize_chat(tokenizer, (*prior, *turns), len(prior))
        try:
            yes_no(answer_format).tokens(tokenizer, chat)
        except InputError as error:
            reasons[name] = str(error)
    return reasons


def _readable_formats(tokenizer: Any, system: str | None, questions: Sequence[Question]) -> list[str]:
    """One answer format of each kind whose forms are single tokens of this model; tells which formats have none.

    Of a kind's formats, which give its labels to yes and no in either order, the first is taken that all questions of
    the kind are asked in.

    Args:
        tokenizer: The model's tokenizer.
        system: Content of the system turn, or None for no system turn.
        questions: What is to be asked.

    Raises:
        InputError: There is no such format.
    """
    reasons = unreadable_formats(tokenizer, opening("", "accurate", system))
    by_kind: dict[str, list[str]] = {}
    for name, answer_format in data.answer_formats().items():
        if name not in reasons:
            by_kind.setdefault(answer_format.kind, []).append(name)
    if not by_kind:
        raise InputError([*reasons.values()][-1])
    for name, reason in reasons.items():
        tell(f"answer format {name} is left out: {reason}")
    chosen = []
    for names in by_kind.values():
        in_kind = [question for question in questions if set(names) & set(question.formats)]
        shared = [name for name in names if all(name in question.formats for question in in_kind)]
        chosen.append((shared or names)[0])
    return chosen
