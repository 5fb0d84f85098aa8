"""Published conversations as this project's conversations, with the factors by which metrics group them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from introbench.errors import InputError, shown
from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.conversation import Conversation, checked
from introbench.prompts.published_files import PublishedConversation, read_published

_EXPECTED = {"always_yes": "yes", "always_no": "no", "introspection": "no"}
"""The right answer by question family; either answer in the others."""


def published(
    tokenizer: Any, paths: Sequence[Path], *, options: bool = False, lens: bool = False
) -> list[Conversation]:
    """The conversations of published files, unchanged; see `introbench.prompts.published_files`.

    Where a file gives tokens for yes alone, every other token counts as no.

    Args:
        tokenizer: The model's tokenizer; every conversation is checked with it.
        paths: Files, or folders of files.
        options: Whether the answers are places in a list of concepts, rather than yes and no.
        lens: Whether the answers are also read after every block (logit lens).

    Raises:
        InputError: A file is malformed, or does not suit this experiment.
    """
    conversations = []
    for path, source in _read_all(paths):
        _refuse_unsuited(path, source, options)
        forms = (
            {str(place): [str(place)] for place in range(len(source.order))}
            if options
            else {"yes": source.yes, **({"no": source.no} if source.no else {})}
        )
        answer_format = source.answer_format or "yes-no"
        known = data.answer_formats().get(answer_format)
        factors = {
            "document": source.document or "none",
            "family": source.family,
            "question": source.label if options else _question_name(source),
            "format": answer_format,
            "answer_kind": known.kind if known else answer_format,
            "reversed": False,
            "expected": _EXPECTED.get(source.family, "either"),
        }
        conversation = Conversation(
            id=source.label,
            messages=source.messages,
            prior_messages=source.prior_messages,
            answers=Answers.of(forms, lens=lens),
            factors=factors | (_options_of(source) if options else {}),
        )
        conversations.append(checked(tokenizer, conversation))
    return conversations


def _options_of(source: PublishedConversation) -> dict[str, Any]:
    """The factors of a published list; at each of its places stands "nothing" or one of the nine concepts."""
    options = ["", *data.concepts()]
    if len(source.order) != len(options):
        raise InputError(
            f"prompts: conversation {shown(source.label)}: extra.perm has {len(source.order)} places; expected "
            f"{len(options)}, for nothing and the published concepts; choose files of this experiment"
        )
    by_place = {str(place): options[option] for place, option in enumerate(source.order)}
    return {"family": "list", "options": by_place, "expected": "nothing"}


def _read_all(paths: Sequence[Path]) -> Iterator[tuple[Path, PublishedConversation]]:
    """Every conversation with the path that it was read from; no label may occur twice."""
    path_of_label: dict[str, Path] = {}
    for path in paths:
        for source in read_published(path):
            if source.label in path_of_label:
                raise InputError(
                    f"prompts {path}: label {shown(source.label)} also stands in {path_of_label[source.label]}; "
                    f"expected each once; leave one of them out"
                )
            path_of_label[source.label] = path
            yield path, source


def _question_name(source: PublishedConversation) -> str:
    """Name of a question that is the same under every document, and differs between framings."""
    document = f"_info-{source.document}" if source.document else ""
    name = source.question.replace(document, "")
    return name if not source.framing or name.startswith(source.framing) else f"{source.framing}_{name}"


def _refuse_unsuited(path: Path, source: PublishedConversation, options: bool) -> None:
    """Raise an error for a conversation that lacks what this experiment needs."""
    missing = (
        ("messages: no add_injection", "a marked prior turn")
        if source.prior_messages == 0
        else ("extra.perm", "the order of the options")
        if options and not source.order
        else ("yes_token", "the text of a token")
        if not options and not source.yes
        else ("no_token", f"as many forms as yes has, {len(source.yes)}, or none")
        if not options and source.no and len(source.no) != len(source.yes)
        else None
    )
    if missing:
        key, wanted = missing
        raise InputError(
            f"prompts {path}: conversation {shown(source.label)}: {key} is missing, empty or does not match; expected "
            f"{wanted}; choose files of this experiment"
        )
