"""Read conversation files in the format in which the authors of arXiv 2602.20031 released theirs, or refuse them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from introbench.errors import InputError, first_line
from introbench.tasks.arguments import user_path

ORDER_FILE = "_order.json"
"""Beside the conversations of a folder: the list of their labels, in order."""

ROLES = ("system", "user", "assistant")

_FAMILIES = {"": "introspection", "no": "always_no", "yes": "always_yes"}

_KEYS = ("label", "messages", "yes_token", "no_token", "extra")

_MESSAGE_KEYS = ("role", "content", "add_injection", "continue_msg")

_KINDS: Mapping[type[Any], str] = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}

T = TypeVar("T")


@dataclass(frozen=True)
class PublishedConversation:
    """One conversation file.

    Attributes:
        label: Name, unique among those read together.
        messages: The conversation, with the keys `role` and `content`; the last message is the assistant's prefill.
        prior_messages: How many leading messages are steered; 0 if none is marked.
        yes: Texts of the tokens that say yes; may be empty.
        no: Texts of the tokens that say no; may be empty.
        document: Name of the document in the first turn, or "".
        framing: Name of how the experiment is described to the model, or "".
        family: What kind of question it is: one of `introbench.prompts.data.FAMILIES`, or the authors' own name for it.
        question: Short name of the question.
        answer_format: Name of the answer format, e.g. yes-no, or "".
        order: For a question with options, which option stands at each place: 0 is "no injection", the concepts
            follow from 1. Empty for others.
    """

    label: str
    messages: tuple[dict[str, str], ...]
    prior_messages: int
    yes: tuple[str, ...]
    no: tuple[str, ...]
    document: str
    framing: str
    family: str
    question: str
    answer_format: str
    order: tuple[int, ...]


def read_published(path: str | Path) -> list[PublishedConversation]:
    """Read one conversation file, or a folder of them.

    Args:
        path: A .json file; or a folder of them, read in the order of its `_order.json`, the others by name after it.

    Raises:
        InputError: There is nothing to read, a file is not as it should be, or two have the same label.
    """
    place = user_path(str(path))
    if not place.exists() or not (place.is_dir() or place.suffix == ".json"):
        found = "is no .json file" if place.exists() else "does not exist"
        raise InputError(f"prompts {place}: {found}; expected a .json file or a folder of them; correct the path")
    seen: dict[str, Path] = {}
    conversations = []
    for file in _files(place) if place.is_dir() else [place]:
        conversation = _conversation(file)
        label = conversation.label
        if label in seen:
            raise InputError(
                f"prompts file {file}: label {label!r} is also that of {seen[label].name}; expected each once; "
                f"rename or remove one"
            )
        seen[label] = file
        conversations.append(conversation)
    return conversations


def _files(folder: Path) -> list[Path]:
    """The conversation files of a folder, in order."""
    # Hidden files are what macOS leaves beside the real ones in an unpacked archive.
    names = sorted(file.name for file in folder.glob("*.json") if file.is_file() and not file.name.startswith("."))
    names = [name for name in names if name != ORDER_FILE]
    if not names:
        inside = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        hint = (
            f"choose one of its folders, {', '.join(inside)}, e.g. {folder / inside[0]}"
            if inside
            else "correct the path"
        )
        raise InputError(f"prompts {folder}: holds no conversation; expected a folder of .json files; {hint}")
    first: list[str] = []
    for label in _order(folder / ORDER_FILE):
        name = label.replace(" ", "_").replace("/", "_") + ".json"
        if name not in names:
            raise InputError(
                f"prompts file {folder / ORDER_FILE}: label {label!r}: expected its file {name} in the same folder; "
                f"add the file or take the label out"
            )
        if name in first:
            raise InputError(
                f"prompts file {folder / ORDER_FILE}: label {label!r}: its file {name} is listed twice; expected it "
                f"once; take one out"
            )
        first.append(name)
    return [folder / name for name in [*first, *(name for name in names if name not in first)]]


def _order(file: Path) -> list[str]:
    """The labels in an order file; none if there is no such file."""
    labels = _json(file) if file.exists() else []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"prompts file {file}: {labels!r:.80}: expected a list of labels; correct it")
    return labels


def _conversation(file: Path) -> PublishedConversation:
    where = f"prompts file {file}: "
    entry = _json(file)
    if not isinstance(entry, dict):
        raise InputError(f"{where}{entry!r:.80}: expected an object with label and messages; correct it")
    _expect_keys(entry, _KEYS, where)
    label = _take(entry, "label", str, where)
    if not label:
        raise InputError(f"{where}label '': expected a name; give it one")
    messages = _messages(_take(entry, "messages", list, where), where)
    yes = _take(entry, "yes_token", str, where, "")
    no = _take(entry, "no_token", str, where, "")
    extra: dict[str, Any] = _take(entry, "extra", dict, where, {})
    where += "extra."
    variants = _variants(extra, where)
    prompt = _take(extra, "prompt", str, where, "")
    group = _take(extra, "group", str, where, "")
    answer_format = _take(extra, "format", str, where, "").removeprefix("fmt-")
    return PublishedConversation(
        label=label,
        messages=tuple({"role": message["role"], "content": message["content"]} for message in messages),
        prior_messages=_prior_messages(messages, f"prompts file {file}: "),
        yes=(yes,) if yes else variants,
        no=(no,) if no else (),
        document=_part(prompt, "info-") or _part(label, "info-"),
        framing=_framing(prompt) or _framing(label),
        family="confusing" if group.endswith("confusing") else _FAMILIES.get(group, group),
        question=_numbered_tail(label) or prompt or label,
        # The label first: some released files in the 0-1 format say yes-no in the other place.
        answer_format=_part(label, "fmt-") or answer_format,
        order=_permutation(extra, where),
    )


def _messages(messages: list[Any], where: str) -> list[dict[str, Any]]:
    """Check the messages, all but which of them are steered."""
    if not messages:
        raise InputError(f"{where}messages []: expected at least the assistant's reply that goes on; add it")
    last = len(messages) - 1
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InputError(f"{where}messages[{index}] {message!r:.80}: expected an object; correct it")
        here = f"{where}messages[{index}]."
        _expect_keys(message, _MESSAGE_KEYS, here)
        role = _take(message, "role", str, here)
        if role not in ROLES:
            raise InputError(f"{here}role {role!r:.80}: expected one of {', '.join(ROLES)}; correct it")
        _take(message, "content", str, here)
        _take(message, "add_injection", bool, here, False)
        # Where the reply is free text, no message is marked as the one that goes on; it is the last one there, too.
        if _take(message, "continue_msg", bool, here, index == last) != (index == last):
            raise InputError(
                f"{here}continue_msg {message['continue_msg']}: expected the last message, and no other, to go on; "
                f"correct it"
            )
    if messages[last]["role"] != "assistant":
        raise InputError(
            f"{where}messages[{last}].role {messages[last]['role']!r}: expected the last message to be the "
            f"assistant's reply that goes on; add one"
        )
    return messages


def _prior_messages(messages: Sequence[Mapping[str, Any]], where: str) -> int:
    """How many leading messages are steered."""
    # The authors fill the cache message by message, and what stands before a marked message and is not yet in the
    # cache goes with it. They never fill it with a system turn alone, so that one is steered although it carries no
    # mark: the steered part counts from the very start of the conversation.
    marked = [index for index, message in enumerate(messages) if message.get("add_injection")]
    if not marked:
        return 0
    start, stop = marked[0], marked[-1] + 1
    for index, message in enumerate(messages[:stop]):
        if not message.get("add_injection") and (index > start or message["role"] != "system"):
            raise InputError(
                f"{where}messages[{index}].add_injection False: expected true, because messages[{marked[-1]}] after "
                f"it is marked and only system messages before the first marked one may go without; correct it"
            )
    if stop == len(messages):
        raise InputError(
            f"{where}messages[{stop - 1}].add_injection True: expected the reply that goes on to be unmarked, after "
            f"the steered messages; correct it"
        )
    return stop


def _variants(extra: Mapping[str, Any], where: str) -> tuple[str, ...]:
    tokens = _take(extra, "yes_variant_tokens", list, where, [])
    if not all(isinstance(token, str) and token for token in tokens):
        raise InputError(f"{where}yes_variant_tokens {tokens!r:.80}: expected a list of non-empty strings; correct it")
    return tuple(tokens)


def _permutation(extra: Mapping[str, Any], where: str) -> tuple[int, ...]:
    places = _take(extra, "perm", list, where, [])
    # By type, because true and 1.0 equal 1.
    if not all(type(place) is int for place in places) or sorted(places) != list(range(len(places))):
        raise InputError(f"{where}perm {places!r:.80}: expected each of 0, 1, 2, ... once, in any order; correct it")
    return tuple(places)


def _part(name: str, prefix: str) -> str:
    """What follows the prefix in the part of a name, between underscores, that begins with it; "" if none does."""
    return next((part.removeprefix(prefix) for part in name.split("_") if part.startswith(prefix)), "")


def _framing(name: str) -> str:
    before, found, _ = name.partition("_info-")
    return before if found else ""


def _numbered_tail(label: str) -> str:
    """The end of a label that numbers the question, e.g. no_15: after document and format; "" if there is none."""
    parts = label.split("_")
    named = [index for index, part in enumerate(parts) if part.startswith(("info-", "fmt-"))]
    tail = parts[named[-1] + 1 :] if named else parts
    return "_".join(tail) if tail and tail[-1].isdecimal() else ""


def _take(entry: Mapping[str, Any], key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """The value of a key, of the given kind; without a default, it must be there."""
    if key not in entry:
        if default is None:
            raise InputError(f"{where}{key} missing: expected {_KINDS[kind]}; add it")
        return default
    value = entry[key]
    if not isinstance(value, kind):
        raise InputError(f"{where}{key} {value!r:.80}: expected {_KINDS[kind]}; correct it")
    return value


def _expect_keys(entry: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    # A slip in an optional key, say add_injection, would otherwise quietly make another experiment.
    for key in entry:
        if key not in allowed:
            raise InputError(f"{where}{key!r:.80} unknown: expected one of {', '.join(allowed)}; correct it")


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"prompts file {file}: line {error.lineno}: {error.msg}; expected JSON; correct it") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"prompts file {file}: cannot be read ({first_line(error)}); expected UTF-8 text; save it again"
        ) from None
