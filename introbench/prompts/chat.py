"""Tokenise a conversation and determine which of its tokens are the prior turn.

The conversation is rendered and tokenised once. The prior turn is its leading part: system turn, first user turn and
first assistant turn, including the tokens that the template adds. Nothing is rendered again later, so the steered
positions and the question cannot come from two different texts. A template for which this does not hold is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jinja2.exceptions import TemplateError

from introbench.errors import InputError

_MOST_ENCODED = 64

Messages = Sequence[dict[str, str]]
"""Chat messages with the keys `role` and `content`."""


@dataclass(frozen=True)
class Chat:
    """A tokenised conversation.

    Attributes:
        text: The conversation as the template renders it; it ends with the assistant's prefill.
        tokens: Token ids of `text`.
        prior: Number of leading tokens that are the prior turn.
    """

    text: str
    tokens: tuple[int, ...]
    prior: int

    @property
    def prior_tokens(self) -> tuple[int, ...]:
        """The steered tokens."""
        return self.tokens[: self.prior]

    @property
    def question_tokens(self) -> tuple[int, ...]:
        """The tokens after the prior turn: the question and the prefill of its answer."""
        return self.tokens[self.prior :]


def tokenize_chat(tokenizer: Any, messages: Messages, prior_messages: int) -> Chat:
    """Tokenise a conversation whose last message is a prefill of the assistant's answer.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation; the last message is the assistant's prefill.
        prior_messages: Number of leading messages that form the prior turn; 0 if there is none.

    Raises:
        InputError: The tokenizer has no chat template, or its template rejects a role, strips the prefill,
            rewrites earlier turns, or merges the end of the prior turn and the question into one token.
    """
    text = render(tokenizer, messages)
    if prior_messages == 0:
        return Chat(text, encode(tokenizer, text), 0)
    prior_text = render(tokenizer, messages[:prior_messages], prefill=False)
    if not text.startswith(prior_text):
        if messages[0]["role"] == "system" and _keeps_prior_turn(tokenizer, messages[1:], prior_messages - 1):
            raise InputError(
                f"chat template of {_name(tokenizer)}: moves the system turn behind earlier turns when later ones are "
                f"added; expected it to stay first; run without one, -T system=none"
            )
        where = _first_difference(prior_text, text)
        raise InputError(
            f"chat template of {_name(tokenizer)}: rewrites earlier turns when later ones are added (from character "
            f"{where}: {prior_text[where : where + 24]!r} becomes {text[where : where + 24]!r}); expected the prior "
            f"turn to stay as it is; pass a template that keeps it, e.g. -M chat_template=chatml"
        )
    tokens = encode(tokenizer, text)
    prior_tokens = _encode_once(tokenizer, prior_text)
    if tokens[: len(prior_tokens)] != prior_tokens or len(tokens) == len(prior_tokens):
        raise InputError(
            f"chat template of {_name(tokenizer)}: the prior turn's end ({prior_text[-12:]!r}) and the next turn share "
            f"a token; expected a token boundary between turns; pass another template, -M chat_template=FILE"
        )
    return Chat(text=text, tokens=tokens, prior=len(prior_tokens))


def render(tokenizer: Any, messages: Messages, *, prefill: bool = True) -> str:
    """Apply the chat template, and check that it contains the text of every turn unchanged.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation.
        prefill: Whether the last message is to be continued, so that no end-of-turn marks follow it.

    Raises:
        InputError: There is no template, or it rejects a role, drops or changes a turn, or strips the prefill.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"model {_name(tokenizer)}: has no chat template; expected an instruct model; "
            f"choose one, or pass a Jinja template, -M chat_template=FILE"
        )
    try:
        text = _apply(tokenizer, messages, prefill)
    except TemplateError as error:
        raise InputError(_rejection(tokenizer, messages, error)) from error
    except ValueError:  # transformers did not find the last message in the rendered chat
        raise InputError(_stripped_prefill(tokenizer, messages)) from None
    if prefill and not text.endswith(messages[-1]["content"]):
        raise InputError(_stripped_prefill(tokenizer, messages))
    end = 0
    for turn, message in enumerate(messages):
        start = text.find(message["content"], end)
        if start < 0:
            raise InputError(
                f"chat template of {_name(tokenizer)}: rewrites turn {turn + 1} ({message['role']}), whose text "
                f"{message['content'][:40]!r} is not in the rendered chat; pass another template, -M chat_template=FILE"
            )
        end = start + len(message["content"])
    return text


def encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a text. No special tokens are added, since a rendered chat contains them."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


_encoded: WeakKeyDictionary[Any, dict[str, tuple[int, ...]]] = WeakKeyDictionary()


def _encode_once(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a text that many conversations begin with; the latest of a tokenizer's texts are kept."""
    kept = _encoded.setdefault(tokenizer, {})
    if text not in kept:
        if len(kept) >= _MOST_ENCODED:
            kept.clear()
        kept[text] = encode(tokenizer, text)
    return kept[text]


def count_tokens(tokenizer: Any, text: str) -> int:
    """Length of a text in the model's tokens."""
    return len(encode(tokenizer, text))


def answer_token(tokenizer: Any, chat: Chat, form: str) -> int | None:
    """The id of the single token that a form is directly after the chat's prefill, or None if it is not one token.

    The form is tokenised together with the chat, because the same text can be one token at the start of a string and
    two tokens after a prefill, or can change the last token of the prefill.
    """
    tokens = encode(tokenizer, chat.text + form)
    if len(tokens) == len(chat.tokens) + 1 and tokens[:-1] == chat.tokens:
        return tokens[-1]
    return None


def next_token(tokenizer: Any, chat: Chat, text: str) -> int | None:
    """The id of the first token of a text directly after the chat's prefill, or None if the two share a token."""
    tokens = encode(tokenizer, chat.text + text)
    if len(tokens) > len(chat.tokens) and tokens[: len(chat.tokens)] == chat.tokens:
        return tokens[len(chat.tokens)]
    return None


def _apply(tokenizer: Any, messages: Messages, prefill: bool) -> str:
    """The rendered conversation, unchecked."""
    return tokenizer.apply_chat_template(list(messages), tokenize=False, continue_final_message=prefill)


def _keeps_prior_turn(tokenizer: Any, messages: Messages, prior_messages: int) -> bool:
    """Whether the rendered conversation begins with its prior turn as that is rendered alone."""
    try:
        conversation = _apply(tokenizer, messages, prefill=True)
        return conversation.startswith(_apply(tokenizer, messages[:prior_messages], prefill=False))
    except (TemplateError, ValueError):
        return False


def _rejection(tokenizer: Any, messages: Messages, error: TemplateError) -> str:
    """The error text for a template that rejects a turn: the system turn, if the others are accepted without it."""
    name, reason = _name(tokenizer), str(error).strip() or type(error).__name__
    if messages[0]["role"] == "system":
        try:
            _apply(tokenizer, messages[1:], prefill=False)
        except TemplateError:
            pass
        else:
            return f"chat template of {name}: rejects a system turn ({reason}); run without one, -T system=none"
    roles = ", ".join(message["role"] for message in messages)
    return (
        f"chat template of {name}: rejects the turns {roles} ({reason}); pass another template, -M chat_template=FILE"
    )


def _stripped_prefill(tokenizer: Any, messages: Messages) -> str:
    """The error text for a template that strips the prefill."""
    return (
        f"chat template of {_name(tokenizer)}: strips the prefill {messages[-1]['content']!r}; expected the rendered "
        f"chat to end with it; pass a template that keeps it, -M chat_template=FILE"
    )


def _name(tokenizer: Any) -> str:
    """What a tokenizer is called in errors."""
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def _first_difference(expected: str, text: str) -> int:
    """Index of the first character in which two texts differ."""
    return next((i for i, (a, b) in enumerate(zip(expected, text, strict=False)) if a != b), len(text))
