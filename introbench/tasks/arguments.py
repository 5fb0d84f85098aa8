"""Read what users pass to a task with `-T`."""

import difflib
import functools
import inspect
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from inspect_ai import Task

from introbench.errors import InputError, first_line, shown
from introbench.progress import tell
from introbench.prompts import data
from introbench.prompts.schema import LONGEST_CONCEPT, is_concept
from introbench.typed_values import expect_type, in_words

Names = str | list[str] | None
"""One of some names, or several of them."""

Words = str | int | float | list[str | int | float] | None
"""Words, of which YAML reads some as numbers."""

Layers = str | int | list[int | str] | None
"""A range of blocks; see `introbench.steering.injection.parse_layers`."""

StrengthText = str | float | None
"""A strength; see `introbench.steering.injection.parse_strength`."""

StrengthTexts = str | float | list[str | float] | None
"""Strengths."""

Descriptions = dict[str, str] | None
"""What vectors are of, in words, by their names."""

MOST_CONCEPTS = 1000

_BIGGEST = 10**15
"""Numbers below it are written as they were typed, and no margin is larger."""


def typed_arguments(make: Callable[..., Task]) -> Callable[..., Task]:
    """A task that refuses arguments that it does not know, and values that are not of the type that it names.

    Inspect itself drops arguments that a task does not know, after a warning, and null stands for whatever the default
    is: a misspelt name, or a variable of the shell that is not set, would run something else than what was meant.

    Raises:
        InputError: In the task that is returned: an argument is unknown, null, or of another type.
    """
    known = inspect.signature(make)
    hints = get_type_hints(make)

    @functools.wraps(make)
    def make_typed(*given: Any, **named: Any) -> Task:
        for name in named:
            if name not in known.parameters:
                near = difflib.get_close_matches(name, known.parameters, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"pass one of {', '.join(known.parameters)}"
                raise InputError(
                    f"-T {shown(name)}: {make.__name__} has no such argument; expected one of its own; {hint}"
                )
        for name, value in known.bind(*given, **named).arguments.items():
            if value is None or (value in ("", [], ()) and name != "system"):
                none = ", or pass -T system=none for no system turn" if name == "system" else ""
                text = "null" if value is None else shown(value)
                raise InputError(f"{name}={text}: expected a value; leave {name} out to have its default{none}")
            quoted = f"""; text that YAML reads otherwise is quoted: -T '{name}="no"'"""
            expect_type(name, value, hints[name], "correct it" + (quoted if "text" in in_words(hints[name]) else ""))
        return make(*given, **named)

    # Inspect hands over arguments that it does not know to tasks that take any.
    anything = inspect.Parameter("unknown", inspect.Parameter.VAR_KEYWORD)
    make_typed.__signature__ = known.replace(parameters=[*known.parameters.values(), anything])  # type: ignore[attr-defined]
    return make_typed


def parse_concepts(value: object) -> tuple[str, ...]:
    """Read a list of concepts: names in any script, with any signs, in one line.

    One that is nearly a published concept is warned of, unless `new:` stands before it: `new:cat` is said to be meant.

    Raises:
        InputError: No concept, one that is no line of text, or one that stands twice.
    """
    if value is None:
        return data.concepts()
    words: dict[str, str] = {}
    for item in _as_list(value):
        text = _as_word(item)
        word = text.removeprefix("new:").strip()
        if not is_concept(word):
            raise InputError(
                f"concept {shown(item)}: expected a name of at most {LONGEST_CONCEPT} characters that print; pass e.g. "
                f"-T concepts=cats,volcanoes, in quotation marks where YAML reads something else: -T 'concepts=\"no\"'"
            )
        key = unicodedata.normalize("NFC", word)
        if key in words:
            raise InputError(f"concepts: {shown(word)} stands twice; expected each once; leave one out")
        words[key] = word
        if not text.startswith("new:") and (meant := _slip(word)):
            tell(f"concept {shown(word)} is taken as it stands; the published one is {meant!r}")
    if not 0 < len(words) <= MOST_CONCEPTS:
        raise InputError(
            f"concepts: {len(words)} of them; expected 1 to {MOST_CONCEPTS}; pass e.g. -T concepts=cats,bread"
        )
    return tuple(words.values())


def _as_word(item: object) -> str:
    """The text of a concept; empty if it is none."""
    if isinstance(item, str):
        return item.strip()
    if isinstance(item, int | float) and not isinstance(item, bool) and abs(item) < _BIGGEST:
        return str(item)
    return ""


def _slip(word: str) -> str | None:
    """The published concept that a word is a misspelling, another case or another number of."""
    if word in data.concepts():
        return None
    for concept in data.concepts():
        if word.lower().removesuffix("s") == concept.removesuffix("s"):
            return concept
    return next(iter(difflib.get_close_matches(word.lower(), data.concepts(), n=1, cutoff=0.9)), None)


def parse_descriptions(value: Descriptions, concepts: Sequence[str]) -> dict[str, str]:
    """Read what vectors are of, where their names do not say it.

    Args:
        value: Words by concept.
        concepts: The concepts that are injected.

    Raises:
        InputError: A name is none of the concepts, or its description is no line of text.
    """
    descriptions = value or {}
    for name, words in descriptions.items():
        choose([name], concepts, "descriptions")
        if not is_concept(words):
            raise InputError(
                f"descriptions: {shown(words)} for {shown(name)}: expected at most {LONGEST_CONCEPT} characters that "
                f"print; pass e.g. -T 'descriptions={{{concepts[0]}: insecure code}}'"
            )
    return dict(descriptions)


def choose(value: object, options: Iterable[str], what: str) -> tuple[str, ...]:
    """Read a choice among named options; None means all of them.

    Raises:
        InputError: A name is not among the options, or none is left.
    """
    known = tuple(options)
    names = known if value is None else tuple(_as_list(value))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
            hint = f"did you mean {near[0]}?" if near else "choose from these"
            raise InputError(f"{what}={shown(name)}: expected one of {', '.join(known)}; {hint}")
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"{what}={shown(list(names))}: expected at least one of {', '.join(known)}, each once; correct it"
        )
    return tuple(map(str, names))


def choose_formats(value: object) -> tuple[str, ...] | None:
    """Read a choice of answer formats; None means one of each kind that the model can be read in.

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
            f"{what}={shown(value)}: expected a whole number from {least} to {most}; "
            f"pass e.g. -T {what}={max(least, 3)}"
        )
    return value


def parse_margin(value: object) -> float:
    """Read a margin of equivalence in nats.

    Raises:
        InputError: It is not a finite number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _BIGGEST:
        raise InputError(f"margin={shown(value)}: expected a number of nats above 0; pass e.g. -T margin=0.5")
    return float(value)


def user_path(text: str) -> Path:
    """A path as the user means it: relative to where the command was given.

    Inspect makes a task in the folder of its file, so that a relative path would be looked for there.

    Raises:
        InputError: No path is like that.
    """
    try:
        if "\0" in text:
            raise ValueError("it has a null character")
        path = Path(text).expanduser()
        given_in = Path(os.environ.get("PWD") or ".") / path
        return path if path.is_absolute() or path.exists() or not given_in.exists() else given_in
    except (OSError, ValueError, RuntimeError) as error:  # too long, or with a null in it; of a user whom nobody knows
        raise InputError(
            f"path {shown(text)}: {first_line(error)}; expected one that this machine can have; correct it"
        ) from None


def user_paths(texts: str | Sequence[str]) -> list[Path]:
    """One or more paths as the user means them; see `user_path`."""
    return [user_path(text) for text in ([texts] if isinstance(texts, str) else texts)]


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
