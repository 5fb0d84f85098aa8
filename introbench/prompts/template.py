"""The chat template of a tokenizer: its date is fixed, and what the tokenizer itself puts first is put first.

Some templates write today's date. Two days then give two chats, so that trials of one day would be compared with other
trials of the next day. Here a template is given one date, in its own text, so that whoever applies it, and whenever,
gets the same chat.
"""

import copy
import datetime
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from introbench.errors import InputError, first_line, shown
from introbench.prompts import data

CHATML = "chatml"
"""Names the shipped chat template, in place of a file."""

DEFAULT_DATE = "2025-01-01"
"""The date that is given to chat templates that write one, unless the user states another."""

_CLOCK = "strftime_now"
_DIRECTIVES = re.compile(r"%[-_0^#]?[A-Za-z]")
_MARKS = re.compile(r"<\|?[A-Za-z_][^<>|\s]*\|?>|\[/?[A-Z_]{2,}\]")
_ANY_TEXT = "Is it so?"
_ANY_CHATS = (
    [{"role": "user", "content": _ANY_TEXT}, {"role": "assistant", "content": _ANY_TEXT}],
    [{"role": "user", "content": _ANY_TEXT}],
)


@dataclass(frozen=True)
class Prepared:
    """A tokenizer whose chat template gives the same chat at any time.

    Attributes:
        tokenizer: The tokenizer.
        date: The date that its template writes, in ISO form; None if it writes none.
        notes: What a reader of the results has to know of the template, in sentences.
    """

    tokenizer: Any
    date: str | None
    notes: tuple[str, ...]


def parse_date(value: object) -> str:
    """Read a date for chat templates; a date of YAML and its text are the same.

    Returns:
        The date in ISO form.

    Raises:
        InputError: It is no date.
    """
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise InputError(
        f"template_date={shown(value)}: expected a date as YEAR-MONTH-DAY; pass e.g. -M template_date={DEFAULT_DATE}"
    )


def template_text(called: str) -> str:
    """The text of a chat template, given as a file, or of the shipped one.

    Raises:
        InputError: The file cannot be read, or is no text.
    """
    try:
        return data.chatml() if called == CHATML else Path(called).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"chat_template={shown(called)}: cannot be read ({first_line(error)}); expected a Jinja file in UTF-8; "
            f"correct it"
        ) from None


def prepare(tokenizer: Any, template: str | None = None, date: str | None = None, called: str = "") -> Prepared:
    """Give a tokenizer a chat template that is the same at any time and begins as the tokenizer itself begins a text.

    Args:
        tokenizer: A transformers tokenizer, which is changed.
        template: The template to use in place of its own.
        date: The date that the template writes, in ISO form.
        called: What the user calls the template.

    Raises:
        InputError: A template is given, and the tokenizer takes no notice of templates.
    """
    notes = []
    if template is not None:
        _refuse_deaf(tokenizer)
        tokenizer.chat_template = template
    day = date or DEFAULT_DATE
    has_date = any(_CLOCK in text for text in _texts_of(tokenizer))
    if has_date:
        _rewrite(tokenizer, lambda text: _dated(text, day))
        notes.append(f"The chat template writes a date: {day} (-M template_date).")
    beginning = own_beginning(tokenizer)
    rendered = _render_any(tokenizer)
    if beginning and rendered is not None and encode(tokenizer, rendered)[: len(beginning)] != beginning:
        first = tokenizer.decode(list(beginning), skip_special_tokens=False)
        _rewrite(tokenizer, lambda text: _preceded_by(first) + text)
        notes.append(f"The chat template does not write {first!r}, which the tokenizer puts first; it is put first.")
    if template is not None and (broken := split_marks(tokenizer)):
        marks = ", ".join(map(repr, broken))
        notes.append(f"Marks of {called or 'the chat template'} that are no single token of this model: {marks}.")
    return Prepared(tokenizer, day if has_date else None, tuple(notes))


def with_chatml(tokenizer: Any) -> Any | None:
    """A copy of a tokenizer with the shipped chat template; None where its marks are no single tokens."""
    try:
        changed = prepare(copy.copy(tokenizer), data.chatml()).tokenizer
    except InputError:
        return None
    return None if split_marks(changed) else changed


def encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a text. No special tokens are added, since a rendered chat contains them."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def own_beginning(tokenizer: Any) -> tuple[int, ...]:
    """The token ids that a tokenizer itself puts before a text, such as BOS; none if it puts nothing there."""
    whole, plain = tuple(tokenizer(_ANY_TEXT)["input_ids"]), encode(tokenizer, _ANY_TEXT)
    starts = (at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    return whole[: next(starts, 0)]


def split_marks(tokenizer: Any) -> list[str]:
    """The marks that a chat template writes, such as `<|im_start|>`, that are no single token of the model."""
    rendered = (_render_any(tokenizer) or "").replace(_ANY_TEXT, " ")
    unknown = getattr(tokenizer, "unk_token_id", None)
    tokens = {mark: encode(tokenizer, mark) for mark in dict.fromkeys(_MARKS.findall(rendered))}
    return [mark for mark, ids in tokens.items() if len(ids) != 1 or ids == (unknown,)]


def _refuse_deaf(tokenizer: Any) -> None:
    """Refuse a tokenizer class that renders chats by code of its own, whatever its chat template is."""
    listening = copy.copy(tokenizer)
    listening.chat_template = "{{ 'heard' }}{{ messages[0].content }}"
    if not (_render_any(listening) or "").startswith("heard"):
        raise InputError(
            f"tokenizer of class {type(tokenizer).__name__}: takes no notice of chat templates; expected one that "
            f"does; leave -M chat_template out, or give the model a tokenizer.json"
        )


def _render_any(tokenizer: Any) -> str | None:
    """Some short chat as the tokenizer renders it; None if it renders none."""
    for chat in _ANY_CHATS:
        try:
            return str(tokenizer.apply_chat_template(chat, tokenize=False))
        except Exception:  # whatever a template raises; the conversations that are asked are refused with the reason
            continue
    return None


def _texts_of(tokenizer: Any) -> Iterator[str]:
    """The tokenizer's chat templates; some have several, by name."""
    template = getattr(tokenizer, "chat_template", None) or ""
    yield from template.values() if isinstance(template, dict) else [template]


def _rewrite(tokenizer: Any, change: Callable[[str], str]) -> None:
    template = tokenizer.chat_template
    changed = {name: change(text) for name, text in template.items()} if isinstance(template, dict) else None
    tokenizer.chat_template = change(template) if changed is None else changed


def _dated(template: str, date: str) -> str:
    """A template in which the function that formats the present time formats the beginning of a day.

    The definition ends in a line end, which Jinja drops, so that whatever stands first in the template begins a line.
    """
    day = datetime.datetime.fromisoformat(date)
    written = {directive: day.strftime(directive) for directive in sorted({*_DIRECTIVES.findall(template)})}
    return (
        f"{{%- macro {_CLOCK}(format) -%}}{{%- for part in format.split('%%') -%}}{{{{ '' if loop.first else '%' }}}}"
        f"{{%- set text = namespace(written=part) -%}}"
        f"{{%- for directive, value in {json.dumps(written)}.items() -%}}"
        f"{{%- set text.written = text.written.replace(directive, value) -%}}{{%- endfor -%}}"
        f"{{{{ text.written }}}}{{%- endfor -%}}{{%- endmacro %}}\n{template}"
    )


def _preceded_by(text: str) -> str:
    """The beginning of a template that writes a text; the comment's line end is dropped, as in `_dated`."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}{{# as the tokenizer begins #}}\n"
