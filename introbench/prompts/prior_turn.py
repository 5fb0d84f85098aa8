"""Where the prior turn ends in a rendered chat, and what the template writes there by itself.

Many templates render the last turn of the assistant otherwise than earlier ones: with empty thoughts before it, or with
another mark at its end. So a prior turn that is rendered alone need not be what the whole chat begins with, and its end
is looked for in the whole chat.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from introbench.prompts.template import encode

Messages = Sequence[dict[str, str]]
"""Chat messages with the keys `role` and `content`."""

_MARK = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_ROLES = "system|developer|user|human|assistant|model|bot"
_NO_TEXT = re.compile(rf"<+\|?/?\w+\|?>+|\[/?[A-Z_]+\]|^\W*({_ROLES})\b\W*", re.IGNORECASE)
"""Marks in pointed or square brackets, and the name of a role that text begins with."""


def content_stretches(text: str, messages: Messages) -> list[tuple[int, int]]:
    """Where the content of each message stands in a rendered chat, as half-open ranges of characters.

    They are looked for from the end, where a chat that is to be continued has the content of its last message.

    Raises:
        ValueError: They are not all there in this order.
    """
    stretches = []
    begin = len(text)
    for message in reversed(messages):
        begin = text.rindex(message["content"], 0, begin)
        stretches.append((begin, begin + len(message["content"])))
    return stretches[::-1]


def possible_ends(text: str, reply_end: int, question_begin: int, alone: str, first: str) -> Iterator[int]:
    """Where a prior turn may end in a rendered chat, the likeliest place first.

    Args:
        text: The rendered chat.
        reply_end: Where the content of the prior turn's last message ends.
        question_begin: Where the content of the next message begins.
        alone: What follows the content of that last message where the prior turn is rendered alone.
        first: What the template writes before a user's content that begins a chat.
    """
    between = text[reply_end:question_begin]
    if alone and between.startswith(alone):
        yield reply_end + len(alone)
    header = _common_ending(first, between)
    opening = next((mark for mark in _MARK.findall(first) if mark in header), None)
    if opening:  # a system text may end as the reply does, so that the two have more in common than a header
        header = header[header.rindex(opening) :]
    if header:
        yield question_begin - len(header)
    yield from (reply_end + mark.start() for mark in _MARK.finditer(between) if mark.start())
    yield reply_end


def own_text(tokenizer: Any, text: str, messages: Messages) -> str:
    """What a template writes before the first content besides marks and names of roles, such as a system text.

    Args:
        tokenizer: The model's tokenizer.
        text: The rendered chat.
        messages: Its messages; the last one is the assistant's prefill.

    Returns:
        The text in one line; empty if there is none.
    """
    stretches = content_stretches(text, messages)
    first = next((number for number, message in enumerate(messages) if message["content"]), 0)
    before = text[: stretches[first][0]]
    later = [n for n, message in enumerate(messages) if n > first and message["role"] == messages[first]["role"]]
    if later:
        header = _common_ending(before, text[stretches[later[0] - 1][1] : stretches[later[0]][0]])
        before = before[: len(before) - len(header)]
    marks = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    pieces: list[list[int]] = [[]]
    for token in encode(tokenizer, before):
        if token in marks:
            pieces.append([])
        else:
            pieces[-1].append(token)
    written = (" ".join(_NO_TEXT.sub(" ", tokenizer.decode(piece)).split()) for piece in pieces if piece)
    return " ".join(piece for piece in written if any(map(str.isalnum, piece)))


def _common_ending(one: str, other: str) -> str:
    """What two texts end in alike; a mark of the first one is not cut in two."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    alike = next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    begin = len(one) - alike
    return one[next((mark.end() for mark in _MARK.finditer(one) if mark.start() < begin < mark.end()), begin) :]
