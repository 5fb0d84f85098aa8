"""Whether a text can be read back from its tokens: a tokenizer that loses text asks something else than was written.

Some tokenizers normalise what they read, and say so: case, composed letters, accents, spaces beside marks. Such a
difference is named. Any other one is refused.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from introbench.errors import InputError
from introbench.prompts.template import encode

_WITHOUT_SPACES = {"Whitespace", "WhitespaceSplit", "BertPreTokenizer"}
"""Steps of a tokenizer that split a text at spaces and drop these, as the format of tokenizer.json names them."""
_SHOWN = 32

Forms = dict[str, Callable[[str], str]]
"""What is equal for a tokenizer: the name of each normalisation, and a function that applies it."""

_known: WeakKeyDictionary[Any, Forms] = WeakKeyDictionary()


def normalised(tokenizer: Any, text: str, tokens: Sequence[int] | None = None) -> tuple[str, ...]:
    """What a tokenizer normalises in a text, by name; nothing if its tokens give back the text as it was.

    Args:
        tokenizer: A transformers tokenizer.
        text: The text.
        tokens: Its token ids; by default those that the tokenizer gives.

    Raises:
        InputError: The tokens give back another text.
    """
    ids = encode(tokenizer, text) if tokens is None else tokens
    back = decode(tokenizer, ids)
    if back == text:
        return ()
    forms = _known.setdefault(tokenizer, _forms(tokenizer))
    needed = list(forms)
    if _apply(forms, needed, text) != _apply(forms, needed, back):
        raise InputError(f"tokenizer of {name_of(tokenizer)}: {_difference(tokenizer, text, back)}")
    for form in reversed(list(forms)):
        fewer = [other for other in needed if other != form]
        if _apply(forms, fewer, text) == _apply(forms, fewer, back):
            needed = fewer
    return tuple(needed)


def reads_as(tokenizer: Any, token: int, form: str) -> bool:
    """Whether a token, decoded by itself, is a form of an answer, but for spaces around it and what is normalised."""
    back = decode(tokenizer, [token])
    if back.strip() == form.strip():
        return True
    forms = _known.setdefault(tokenizer, _forms(tokenizer))
    return _apply(forms, [*forms], back).strip() == _apply(forms, [*forms], form).strip()


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of tokens, marks included, without repairs of its spaces."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def name_of(tokenizer: Any) -> str:
    """What a tokenizer is called in errors."""
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def _forms(tokenizer: Any) -> Forms:
    """The normalisations of a tokenizer that are allowed for, the most usual first."""
    contents = {str(added) for added in tokenizer.added_tokens_decoder.values()} | {*tokenizer.all_special_tokens}
    named = [mark for mark in contents if mark.strip() and not mark.isalnum()]  # others are words, or runs of spaces
    marks = "|".join(re.escape(mark) for mark in sorted(named, key=len, reverse=True))
    forms: Forms = {
        "spaces beside marks": partial(re.compile(rf"^\s+|\s*({marks})\s*" if marks else r"^\s+").sub, _mark_alone),
        "Unicode's composed forms (NFC)": partial(unicodedata.normalize, "NFC"),
        "Unicode's compatible forms (NFKC)": partial(unicodedata.normalize, "NFKC"),
        "case": str.casefold,
        "accents": _without_accents,
        "runs of spaces and line ends": partial(re.compile(r"\s+").sub, " "),
    }
    if _WITHOUT_SPACES & {*_steps(tokenizer)}:
        forms["spaces between words"] = partial(re.compile(r"\s+").sub, "")
    return forms


def _mark_alone(match: re.Match[str]) -> str:
    return (match[1] or "") if match.re.groups else ""


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def _steps(tokenizer: Any) -> Iterator[str]:
    """The names of the steps in which a fast tokenizer splits a text; none of a slow one, which does not tell them."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    splitting = json.loads(backend.to_str()).get("pre_tokenizer") if hasattr(backend, "to_str") else None
    if splitting:
        yield from (step["type"] for step in [splitting, *splitting.get("pretokenizers", [])])


def _apply(forms: Forms, names: Sequence[str], text: str) -> str:
    for name in names:
        text = forms[name](text)
    return text


def _difference(tokenizer: Any, text: str, back: str) -> str:
    """What is read in place of what was written, around the first difference that is no normalisation."""
    forms = _known[tokenizer]
    written, read = _apply(forms, [*forms], text), _apply(forms, [*forms], back)
    at = next((i for i, (a, b) in enumerate(zip(written, read, strict=False)) if a != b), min(len(written), len(read)))
    begin = max(0, at - _SHOWN // 2)
    return (
        f"reads {written[begin : begin + _SHOWN]!r} as {read[begin : begin + _SHOWN]!r}; expected its tokens to give "
        f"the text back; correct its files (the class in tokenizer_config.json, the normalizer in tokenizer.json)"
    )
