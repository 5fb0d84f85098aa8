"""Read conversation files in the format that the authors of arXiv 2602.20031 published, and refuse malformed ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from introbench.errors import InputError, first_line, shown

ORDER_FILE = "_order.json"
"""File in a folder of conversations that lists their labels in order."""

ROLES = ("system", "user", "assistant")

_FAMILIES = {"": "introspection", "no": "always_no", "yes": "always_yes"}
"""Question family by the value of `extra.group`; other values are names of families themselves."""

_KEYS = ("label", "messages", "yes_token", "no_token", "extra")

_MESSAGE_KEYS = ("role", "content", "add_injection", "continue_msg")

_TYPE_NAMES: Mapping[type[Any], str] = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}

T = TypeVar("T")


@dataclass(frozen=True)
class PublishedConversation:
    """One conversation file.

    Attributes:
        label: Name, unique among the conversations that are read together.
        messages: The conversation, with the keys `role` and `content`; the last message is the assistant's prefill.
        prior_messages: Number of leading messages that are steered; 0 if no message is marked.
        yes: Texts of the tokens that mean yes; may be empty.
        no: Texts of the tokens that mean no; may be empty.
        document: Name of the document in the first turn, or "".
        framing: Name of the description of the experiment that the model is given, or "".
        family: Question family: one of `introbench.prompts.schema.FAMILIES`, or the authors' name for another one.
        question: Short name of the question.
        answer_format: Name of the answer format, e.g. yes-no, or "".
        order: For a list of options, the option at each place: 0 is "no injection", the concepts are numbered from 1.
            Empty for other questions.
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


def read_published(path: Path) -> list[PublishedConversation]:
    """Read one conversation file, or a folder of them.

    Args:
        path: A .json file; or a folder of .json files, which are read in the order of its `_order.json`, followed by
            the files that are not listed there, by name.

    Raises:
        InputError: There is no conversation at the path, a file is malformed, or two files have the same label.
    """
    # What is no regular file, such as a named pipe, may keep a reader waiting for ever.
    if not (path.is_dir() or (path.suffix == ".json" and path.is_file())):
        problem = "is no .json file" if path.exists() else "does not exist"
        raise InputError(f"prompts {path}: {problem}; expected a .json file or a folder of them; correct the path")
    file_of_label: dict[str, Path] = {}
    conversations = []
    for file in _files(path) if path.is_dir() else [path]:
        conversation = _read_conversation(file)
        label = conversation.label
        if label in file_of_label:
            raise InputError(
                f"prompts file {file}: label {shown(label)} is also that of {file_of_label[label].name}; "
                f"expected each once; rename or remove one"
            )
        file_of_label[label] = file
        conversations.append(conversation)
    return conversations


def _files(folder: Path) -> list[Path]:
    """The conversation files of a folder, in order."""
    # Archives that were packed on macOS unpack to a hidden file beside every real one.
    try:
        entries = [*folder.iterdir()]
    except OSError as error:
        raise InputError(
            f"prompts {folder}: cannot be read ({first_line(error)}); expected a folder of .json files; correct it"
        ) from None
    names = sorted(
        file.name for file in entries if file.suffix == ".json" and file.is_file() and not file.name.startswith(".")
    )
    names = [name for name in names if name != ORDER_FILE]
    if not names:
        folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        hint = (
            f"choose one of its folders, {', '.join(folders)}, e.g. {folder / folders[0]}"
            if folders
            else "correct the path"
        )
        raise InputError(f"prompts {folder}: holds no conversation; expected a folder of .json files; {hint}")
    listed: list[str] = []
    for label in _order(folder / ORDER_FILE):
        name = label.replace(" ", "_").replace("/", "_") + ".json"
        if name not in names:
            raise InputError(
                f"prompts file {folder / ORDER_FILE}: label {shown(label)}: expected its file {name} in the same "
                f"folder; add the file or take the label out"
            )
        if name in listed:
            raise InputError(
                f"prompts file {folder / ORDER_FILE}: label {shown(label)}: its file {name} is listed twice; expected "
                f"it once; take one out"
            )
        listed.append(name)
    return [folder / name for name in [*listed, *(name for name in names if name not in listed)]]


def _order(file: Path) -> list[str]:
    """The labels that an order file lists; none if there is no such file."""
    labels = _json(file) if file.is_file() else []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"prompts file {file}: {shown(labels)}: expected a list of labels; correct it")
    return labels


def _read_conversation(file: Path) -> PublishedConversation:
    where = f"prompts file {file}: "
    entry = _json(file)
    if not isinstance(entry, dict):
        raise InputError(f"{where}{shown(entry)}: expected an object with label and messages; correct it")
    _expect_keys(entry, _KEYS, where)
    label = _take(entry, "label", str, where)
    if not label or not label.isprintable():
        raise InputError(f"{where}label {shown(label)}: expected a name that prints; give it one")
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
        # The label comes first: some published files whose format is 0-1 name yes-no in `extra.format`.
        answer_format=_part(label, "fmt-") or answer_format,
        order=_permutation(extra, where),
    )


def _messages(messages: list[Any], where: str) -> list[dict[str, Any]]:
    """Check everything about the messages but which of them are steered."""
    if not messages:
        raise InputError(f"{where}messages []: expected at least the assistant's reply that goes on; add it")
    last = len(messages) - 1
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InputError(f"{where}messages[{index}] {shown(message)}: expected an object; correct it")
        here = f"{where}messages[{index}]."
        _expect_keys(message, _MESSAGE_KEYS, here)
        role = _take(message, "role", str, here)
        if role not in ROLES:
            raise InputError(f"{here}role {shown(role)}: expected one of {', '.join(ROLES)}; correct it")
        _take(message, "content", str, here)
        _take(message, "add_injection", bool, here, False)
        # Files with a free-text reply mark no message with `continue_msg`; there, too, the last message is continued.
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
    """Number of leading messages that are steered."""
    # The authors fill the cache message by message, and a message before a marked one that is not yet in the cache is
    # computed together with it. They never fill the cache with a system turn alone, so a system turn is steered
    # although it is not marked: the steered part begins at the start of the conversation.
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
    """The tokens that mean yes, where a file lists several of them."""
    tokens = _take(extra, "yes_variant_tokens", list, where, [])
    if not all(isinstance(token, str) and token for token in tokens):
        raise InputError(f"{where}yes_variant_tokens {shown(tokens)}: expected a list of non-empty strings; correct it")
    return tuple(tokens)


def _permutation(extra: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """The option at each place of a list; empty if the question has no list."""
    places = _take(extra, "perm", list, where, [])
    # The type is compared because true and 1.0 equal 1.
    if not all(type(place) is int for place in places) or sorted(places) != list(range(len(places))):
        raise InputError(f"{where}perm {shown(places)}: expected each of 0, 1, 2, ... once, in any order; correct it")
    return tuple(places)


def _part(name: str, prefix: str) -> str:
    """The rest of the first underscore-separated part of a name that begins with a prefix; "" if no part does."""
    return next((part.removeprefix(prefix) for part in name.split("_") if part.startswith(prefix)), "")


def _framing(name: str) -> str:
    """The part of a name before its document; "" if it names no document."""
    before, separator, _ = name.partition("_info-")
    return before if separator else ""


def _numbered_tail(label: str) -> str:
    """The end of a label that numbers the question, after document and format, e.g. no_15; "" if there is none."""
    parts = label.split("_")
    prefixed = [index for index, part in enumerate(parts) if part.startswith(("info-", "fmt-"))]
    tail = parts[prefixed[-1] + 1 :] if prefixed else parts
    return "_".join(tail) if tail and tail[-1].isdecimal() else ""


def _take(entry: Mapping[str, Any], key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """The value of a key, which must have the given type; without a default, the key must be there."""
    if key not in entry:
        if default is None:
            raise InputError(f"{where}{key} missing: expected {_TYPE_NAMES[kind]}; add it")
        return default
    value = entry[key]
    if not isinstance(value, kind):
        raise InputError(f"{where}{key} {shown(value)}: expected {_TYPE_NAMES[kind]}; correct it")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}{key} {shown(value)}: expected whole characters of Unicode; correct it") from None
    return value


def _expect_keys(entry: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    # A misspelt optional key, such as add_injection, would otherwise change the experiment without notice.
    for key in entry:
        if key not in allowed:
            raise InputError(f"{where}{shown(key)} unknown: expected one of {', '.join(allowed)}; correct it")


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"prompts file {file}: line {error.lineno}: {error.msg}; expected JSON; correct it") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"prompts file {file}: cannot be read ({first_line(error)}); expected UTF-8 text; save it again"
        ) from None
    except RecursionError:
        raise InputError(f"prompts file {file}: is nested too deeply; expected an object with messages") from None
