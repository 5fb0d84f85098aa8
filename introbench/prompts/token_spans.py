"""Which tokens of a chat some of its characters are."""

from collections.abc import Sequence
from typing import Any

from introbench.errors import InputError
from introbench.prompts.chat import Chat, Messages

Stretch = tuple[int, int]
"""Half-open range of characters, or of tokens, counted from 0."""


def message_starts(chat: Chat, messages: Messages) -> list[int]:
    """Where the text of each message begins in a rendered chat, in characters."""
    starts, end = [], 0
    for message in messages:
        start = chat.text.index(message["content"], end)  # rendering has made sure that it is there
        starts.append(start)
        end = start + len(message["content"])
    return starts


def sentence_stretches(sentences: Sequence[str], begin: int) -> list[Stretch]:
    """Characters of sentences that are joined by spaces; a space belongs to the sentence that it leads to.

    Tokenizers that make `" The"` one token say either that it begins at the space or that it begins at the letter;
    both lie within the sentence.

    Args:
        sentences: One after another.
        begin: Where the first one begins.
    """
    stretches = []
    end = begin
    for number, sentence in enumerate(sentences):
        start, end = end, end + len(sentence) + (number > 0)
        stretches.append((start, end))
    return stretches


def token_spans(tokenizer: Any, chat: Chat, stretches: Sequence[Stretch]) -> list[Stretch]:
    """The tokens of some characters of a chat's prior turn; a token belongs to where it begins.

    Args:
        tokenizer: The tokenizer that made the chat's tokens.
        chat: The conversation.
        stretches: Characters of `chat.text`.

    Raises:
        InputError: The tokenizer does not say where its tokens begin, or no token begins in a stretch.
    """
    begins = _token_begins(tokenizer, chat)
    spans = []
    for start, end in stretches:
        inside = [token for token, begin in enumerate(begins) if start <= begin < end]
        if not inside or inside[-1] >= chat.prior or inside[-1] - inside[0] >= len(inside):
            raise InputError(
                f"text {chat.text[start:end][:40]!r}: no tokens of the prior turn are its own for this tokenizer; "
                f"expected some; choose another passage"
            )
        spans.append((inside[0], inside[-1] + 1))
    return spans


def _token_begins(tokenizer: Any, chat: Chat) -> list[int]:
    """The character at which each token of a chat begins."""
    name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"tokenizer of {name}: does not say which characters its tokens are; expected a fast one (tokenizer.json), "
            f"to steer single sentences; choose another model"
        )
    encoded = tokenizer(chat.text, add_special_tokens=False, return_offsets_mapping=True)
    if tuple(encoded["input_ids"]) != chat.tokens:
        raise InputError(
            f"tokenizer of {name}: gives other tokens when asked where they begin; expected the same; choose another "
            f"model"
        )
    return [begin for begin, _ in encoded["offset_mapping"]]
