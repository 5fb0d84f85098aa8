"""Which conversations a task asks: published ones, or those of the battery that its arguments choose."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from introbench.errors import InputError, shown
from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.conversation import Conversation
from introbench.prompts.design import HALF
from introbench.prompts.own_questions import OwnQuestions, read_own_questions
from introbench.prompts.published import published
from introbench.tasks.arguments import choose, choose_formats, user_path, user_paths


def asked_conversations(
    tokenizer: Any,
    prompts: str | Sequence[str] | None,
    *,
    documents: object,
    families: object,
    formats: object,
    system: str | None,
    known_families: Sequence[str] = schema.FAMILIES,
    lens: bool = False,
    cross: str = HALF,
    kinds: Sequence[str] | None = None,
    own: OwnQuestions | None = None,
) -> list[Conversation]:
    """What a task asks: published conversations, or those of the battery that its arguments choose.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Files or folders of published conversations; None for the battery.
        documents: Names of documents; None for all.
        families: Names of question families; None for all that are known.
        formats: Names of answer formats; None for one of each kind that the model can be read in.
        system: Content of the system turn, or None for no system turn.
        known_families: The families that may be chosen.
        lens: Whether answers are read after every block too.
        cross: In how many kinds of answers each wording of the battery is asked; see `introbench.prompts.design`.
        kinds: The kinds among which wordings take turns; None for those of the formats, so that in one kind alone every
            wording is asked.
        own: A user's own questions and documents, together with those of ours that stay; None for ours.

    Raises:
        InputError: An argument names what there is not; see also `published` and `battery`.
    """
    if prompts:
        return published(tokenizer, user_paths(prompts), lens=lens)
    return list(
        battery(
            tokenizer,
            documents=choose(documents, data.documents() if own is None else own.documents, "documents"),
            families=choose(families, known_families, "families"),
            formats=choose_formats(formats),
            system=system,
            lens=lens,
            cross=cross,
            kinds=kinds,
            own=own,
        )
    )


def parse_questions_file(questions: str | None, prompts: object) -> OwnQuestions | None:
    """Read what a user passes as `questions`.

    Args:
        questions: Path of a file of own questions, or None.
        prompts: What the user passes as `prompts`: published conversations, which have questions of their own.

    Raises:
        InputError: The file has an error, or both are passed.
    """
    if questions is None:
        return None
    if prompts:
        raise InputError(
            f"questions={shown(questions)} with prompts={shown(prompts)}: expected one of them, since published "
            f"conversations have their own questions; leave one out"
        )
    return read_own_questions(user_path(questions))


def with_lens(conversations: Sequence[Conversation], family: str) -> list[Conversation]:
    """The same conversations, those of one question family with answers that are read after every block, too."""
    return [
        replace(conversation, answers=replace(conversation.answers, lens=True))
        if conversation.factors["family"] == family
        else conversation
        for conversation in conversations
    ]
