"""A conversation as one model reads it: its tokens, and those of the answers after it; each is tokenised once.

A task asks whether a model can read its conversations before any weights load, and the provider needs the same tokens
for every trial. Tokenising is slow: each form of an answer is tokenised with the whole conversation before it.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from introbench.prompts.answers import Answers, Forms
from introbench.prompts.chat import Chat, tokenize_chat

RoleAndContent = tuple[tuple[str, str], ...]
"""Role and content of each message."""

_MOST_KEPT = 4096
_kept: WeakKeyDictionary[Any, dict[Hashable, "ReadableChat"]] = WeakKeyDictionary()


@dataclass(frozen=True)
class ReadableChat:
    """A tokenised conversation with the forms of its answers that can be read.

    Attributes:
        chat: The conversation.
        forms: For each answer, its forms as text and token.
        left_out: Forms that are no single token.
    """

    chat: Chat
    forms: Forms
    left_out: list[str]


def read_chat(tokenizer: Any, turns: RoleAndContent, prior_messages: int, answers: Answers) -> ReadableChat:
    """Tokenise a conversation and its answers, or look up what was tokenised before.

    Args:
        tokenizer: The model's tokenizer.
        turns: Role and content of each message; the last one is the assistant's prefill.
        prior_messages: How many leading messages are the prior turn.
        answers: What is read after them.

    Raises:
        InputError: The model's template or tokenizer does not carry the conversation as it is written; see
            `introbench.prompts.chat.tokenize_chat` and `introbench.prompts.answers.Answers.tokens`.
    """
    kept = _kept.setdefault(tokenizer, {})
    key = (getattr(tokenizer, "chat_template", None), turns, prior_messages, answers)
    if key not in kept:
        messages = [{"role": role, "content": content} for role, content in turns]
        chat = tokenize_chat(tokenizer, messages, prior_messages)
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        kept[key] = ReadableChat(chat, *answers.tokens(tokenizer, chat))
    return kept[key]
