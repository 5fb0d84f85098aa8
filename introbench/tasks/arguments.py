"""Read what users pass to a task with `-T`."""

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from introbench.errors import InputError
from introbench.prompts import data


def parse_concepts(value: object) -> tuple[str, ...]:
    """Read a list of concepts: any words, with a guard against slips in the well-known ones.

    `new:` before a word turns the guard off: `new:cat` is a concept of its own.

    Raises:
        InputError: No concept, one that is not a word, one that stands twice, or a slip in a published one.
    """
    if value is None:
        return data.concepts()
    words = []
    for item in [value] if isinstance(value, str) else _as_list(value):
        word = str(item).strip().removeprefix("new:").strip()
        is_word = word and all(part.isalpha() for part in word.replace("-", " ").replace("'", " ").split())
        if not is_word or isinstance(item, bool):
            raise InputError(f"concept {item!r}: expected words; pass e.g. -T concepts=cats,volcanoes")
        meant = None if str(item).strip().startswith("new:") else _slip(word)
        if meant:
            raise InputError(
                f"concept {word!r}: unknown, and nearly {meant!r}; pass -T concepts={meant}, or new:{word} to mean it "
                f"(published: {', '.join(data.concepts())}; any other word is a new concept)"
            )
        words.append(word)
    if not words or len(set(words)) != len(words):
        raise InputError(f"concepts={words!r}: expected at least one, each once; pass e.g. -T concepts=cats,bread")
    return tuple(words)


def _slip(word: str) -> str | None:
    """The published concept that a word is a misspelling, another case or another number of."""
    if word in data.concepts():
        return None
    for concept in data.concepts():
        if word.lower().removesuffix("s") == concept.removesuffix("s"):
            return concept
    return next(iter(difflib.get_close_matches(word.lower(), data.concepts(), n=1, cutoff=0.9)), None)


def choose(value: object, options: Iterable[str], what: str) -> tuple[str, ...]:
    """Read a choice among named options; None means all of them.

    Raises:
        InputError: A name is not among the options, or none is left.
    """
    known = tuple(options)
    names = (
        known
        if value is None
        else tuple(str(item) for item in ([value] if isinstance(value, str) else _as_list(value)))
    )
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "choose from these"
            raise InputError(f"{what}={name!r}: expected one of {', '.join(known)}; {hint}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"{what}={list(names)!r}: expected at least one of {', '.join(known)}, each once; correct it")
    return names


def choose_formats(value: object) -> tuple[str, ...] | None:
    """Read a choice of answer formats; None means all that the model can be read in.

    Raises:
        InputError: A name is not that of a format, or none is left.
    """
    return None if value is None else choose(value, data.answer_formats(), "formats")


def parse_count(value: object, what: str, most: int, least: int = 0) -> int:
    """Read a whole number.

    Raises:
        InputError: It is not a whole number from `least` to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(
            f"{what}={value!r}: expected a whole number from {least} to {most}; pass e.g. -T {what}={max(least, 3)}"
        )
    return value


def parse_margin(value: object) -> float:
    """Read a margin of equivalence in nats.

    Raises:
        InputError: It is not a finite number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"margin={value!r}: expected a number of nats above 0; pass e.g. -T margin=0.5")
    return float(value)


def user_path(text: str) -> Path:
    """A path as the user means it: relative to where the command was given.

    Inspect makes a task in the folder of its file, so that a relative path would be looked for there.
    """
    path = Path(text).expanduser()
    given_in = Path(os.environ.get("PWD") or ".") / path
    return path if path.is_absolute() or path.exists() or not given_in.exists() else given_in


def user_paths(texts: str | Sequence[str]) -> list[Path]:
    """One or more paths as the user means them; see `user_path`."""
    return [user_path(text) for text in ([texts] if isinstance(texts, str) else texts)]


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) else [value]
