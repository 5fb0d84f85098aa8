"""Published conversations as this project's conversations, with the factors that metrics use."""

from collections.abc import Iterator, Sequence
from typing import Any

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.conversation import Conversation, checked
from introbench.prompts.published_files import PublishedConversation, read_published


def published(
    tokenizer: Any, paths: str | Sequence[str], *, options: bool = False, lens: bool = False
) -> list[Conversation]:
    """The conversations of published prompt files, as they are; see `introbench.prompts.published_files`.

    With a yes form alone, no stands for every other answer.

    Args:
        tokenizer: The model's tokenizer; every conversation is checked with it.
        paths: Files, or folders of files.
        options: Whether the answers are places in a list of concepts, rather than yes and no.
        lens: Whether answers are read after every block too.

    Raises:
        InputError: A file is not as it should be, or is not for this experiment.
    """
    conversations = []
    for path, each in _read_all([paths] if isinstance(paths, str) else paths):
        _refuse_unsuited(path, each, options)
        forms = (
            {str(place): [str(place)] for place in range(len(each.order))}
            if options
            else {"yes": each.yes, **({"no": each.no} if each.no else {})}
        )
        factors = {
            "document": each.document or "none",
            "family": each.family,
            # An item is the same question under every document, and of one framing.
            "question": each.label if options else _item(each),
            "format": each.answer_format or "yes-no",
            "reversed": False,
            "expected": {"always_yes": "yes", "always_no": "no", "introspection": "no"}.get(each.family, "either"),
        }
        conversation = Conversation(
            id=each.label,
            messages=each.messages,
            prior_messages=each.prior_messages,
            answers=Answers.of(forms, lens=lens),
            factors=factors | (_options_of(each) if options else {}),
        )
        conversations.append(checked(tokenizer, conversation))
    return conversations


def _options_of(each: PublishedConversation) -> dict[str, Any]:
    """What stands at each place of a published list: nothing, or one of the nine concepts."""
    options = ["", *data.concepts()]
    if len(each.order) != len(options):
        raise InputError(
            f"prompts: conversation {each.label!r}: extra.perm has {len(each.order)} places; expected {len(options)}, "
            f"for nothing and the published concepts; choose files of this experiment"
        )
    shown = {str(place): options[option] for place, option in enumerate(each.order)}
    return {"family": "list", "options": shown, "expected": "nothing"}


def _read_all(paths: Sequence[str]) -> Iterator[tuple[str, PublishedConversation]]:
    seen: dict[str, str] = {}
    for path in paths:
        for each in read_published(path):
            if each.label in seen:
                raise InputError(
                    f"prompts {path}: label {each.label!r} also stands in {seen[each.label]}; expected each once; "
                    f"leave one of them out"
                )
            seen[each.label] = path
            yield path, each


def _item(each: PublishedConversation) -> str:
    """Name of a published question without the document that it stands under."""
    name = each.question.replace(f"_info-{each.document}", "") if each.document else each.question
    return name if not each.framing or name.startswith(each.framing) else f"{each.framing}_{name}"


def _refuse_unsuited(path: str, each: PublishedConversation, options: bool) -> None:
    missing = (
        ("messages: no add_injection", "a marked prior turn")
        if each.prior_messages == 0
        else ("extra.perm", "the order of the options")
        if options and not each.order
        else ("yes_token", "the text of a token")
        if not options and not each.yes
        else ("no_token", f"as many forms as yes has, {len(each.yes)}, or none")
        if not options and each.no and len(each.no) != len(each.yes)
        else None
    )
    if missing:
        key, wanted = missing
        raise InputError(
            f"prompts {path}: conversation {each.label!r}: {key} is missing, empty or does not match; expected "
            f"{wanted}; choose files of this experiment"
        )
