"""Find the tokens of a chat that some of its characters belong to."""

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
        start = chat.text.index(message["content"], end)  # `render` has checked that it is there
        starts.append(start)
        end = start + len(message["content"])
    return starts


def sentence_stretches(sentences: Sequence[str], begin: int) -> list[Stretch]:
    """The characters of sentences that are joined by spaces; a space belongs to the sentence after it.

    Where `" The"` is one token, some tokenizers report that it begins at the space, others that it begins at the
    letter; both lie within the sentence.

    Args:
        sentences: The sentences in order.
        begin: Index of the first character.
    """
    stretches = []
    end = begin
    for number, sentence in enumerate(sentences):
        start, end = end, end + len(sentence) + (number > 0)
        stretches.append((start, end))
    return stretches


def token_spans(tokenizer: Any, chat: Chat, stretches: Sequence[Stretch]) -> list[Stretch]:
    """The tokens of some characters of a chat's prior turn; a token belongs to the character that it begins at.

    Args:
        tokenizer: The tokenizer that made the chat's tokens.
        chat: The conversation.
        stretches: Ranges of characters of `chat.text`.

    Returns:
        For each range of characters its range of tokens.

    Raises:
        InputError: The tokenizer does not report where its tokens begin, or no token begins in a range.
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
