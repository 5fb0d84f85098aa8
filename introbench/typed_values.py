"""Refuse values of another type than is expected, strictly: text is no number, and a list no text."""

from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from introbench.errors import InputError, shown

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def expect_type(what: str, value: object, hint: Any, advice: str) -> None:
    """Refuse a value that a type hint does not allow; tuples count as lists.

    Args:
        what: Name of the value, for the error.
        value: The value.
        hint: The hint.
        advice: What to do, for the error.

    Raises:
        InputError: The value is of another type, or text that no encoding has.
    """
    value = list(value) if isinstance(value, tuple) else value
    try:
        _reader(hint).validate_python(value, strict=True)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                text.encode()
    except (ValidationError, UnicodeEncodeError):
        raise InputError(f"{what}={shown(value)}: expected {in_words(hint)}; {advice}") from None


def in_words(hint: Any) -> str:
    """What a type hint allows, apart from None."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType] if _is_union(hint) else [hint]
    names = list(dict.fromkeys(_WORDS.get(get_origin(kind) or kind, "something else") for kind in kinds))
    if {"a whole number", "a number"} <= set(names):
        names.remove("a whole number")
    return " or ".join(names)


def _is_union(hint: Any) -> bool:
    return bool(get_args(hint)) and get_origin(hint) not in _WORDS


@cache
def _reader(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
