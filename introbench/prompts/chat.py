"""Tokenise a conversation and determine which of its tokens are the prior turn.

The conversation is rendered and tokenised once. The prior turn is its leading part: system turn, first user turn and
first assistant turn, including the tokens that the template adds. Nothing is rendered again later, so the steered
positions and the question cannot come from two different texts. The prior turn has to be the same before every
question. A template for which this does not hold is refused, and so is a tokenizer that loses text.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from introbench.errors import InputError
from introbench.prompts.prior_turn import Messages, content_stretches, possible_ends
from introbench.prompts.rendering import (
    REJECTED,
    UnsuitableTemplateError,
    apply,
    first_difference,
    keeps_prior_turn,
    refuse_other_reading,
    rendered,
)
from introbench.prompts.round_trip import decode, name_of, normalised, reads_as
from introbench.prompts.template import encode, own_beginning, with_chatml

__all__ = [
    "Chat",
    "Messages",
    "answer_token",
    "count_tokens",
    "encode",
    "next_token",
    "render",
    "tokenize_chat",
    "tokenize_open_chat",
]

_MOST_ENCODED = 64

_ANSWER = "I"
"""Some answer, to see what stands before it."""

_OTHER_QUESTIONS = ("Is it so?", "Why?")


@dataclass(frozen=True)
class Chat:
    """A tokenised conversation.

    Attributes:
        text: The conversation as the template renders it; it ends with the assistant's prefill.
        tokens: Token ids of `text`.
        prior: Number of leading tokens that are the prior turn.
        prior_text: The prior turn as the template renders it; not compared.
        normalised: What the tokenizer normalises in the text, by name; not compared.
    """

    text: str
    tokens: tuple[int, ...]
    prior: int
    prior_text: str = field(default="", compare=False)
    normalised: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """Digest of the token ids, and of how many of them are the prior turn."""
        return hashlib.sha256(f"{list(self.tokens)} {self.prior}".encode()).hexdigest()[:16]

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
            rewrites earlier turns, leaves out what the tokenizer itself puts first, or merges the end of the prior turn
            and the question into one token; or the tokenizer loses text.
    """
    try:
        return _tokenized(tokenizer, messages, prior_messages)
    except UnsuitableTemplateError as error:
        remedy = error.remedy or _remedy(tokenizer, messages, prior_messages)
        raise InputError(f"{error}; {remedy}") from error.__cause__


def tokenize_open_chat(tokenizer: Any, messages: Messages, prior_messages: int) -> Chat:
    """Tokenise a conversation that ends where the assistant's answer begins, with nothing of it written yet.

    What stands there is what the template writes before any answer, so that a template that opens an answer with
    thoughts of its own is not followed in that.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation; the last message is not the assistant's.
        prior_messages: Number of leading messages that form the prior turn; 0 if there is none.

    Raises:
        InputError: See `tokenize_chat`; or the beginning of the answer shares a token with what stands before it.
    """
    begun = tokenize_chat(tokenizer, [*messages, {"role": "assistant", "content": _ANSWER}], prior_messages)
    text = begun.text.removesuffix(_ANSWER).rstrip(" ")
    tokens = encode(tokenizer, text)
    if not _begins(begun.tokens, tokens):
        raise InputError(
            f"chat template of {name_of(tokenizer)}: the beginning of an answer shares a token with what stands before "
            f"it; expected a token boundary there; pass another template, -M chat_template=FILE"
        )
    return replace(begun, text=text, tokens=tokens)


def render(tokenizer: Any, messages: Messages) -> str:
    """Apply the chat template, and check that it contains the text of every turn unchanged.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation; the last message is to be continued, so that no end-of-turn marks follow it.

    Raises:
        InputError: There is no template, or it rejects a role, drops or changes a turn, or strips the prefill.
    """
    try:
        return rendered(tokenizer, messages)
    except UnsuitableTemplateError as error:
        raise InputError(f"{error}; {error.remedy or _remedy(tokenizer, messages, 0)}") from error.__cause__


_encoded: WeakKeyDictionary[Any, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
_prior_texts: WeakKeyDictionary[Any, dict[tuple[Any, ...], str]] = WeakKeyDictionary()
"""For each tokenizer the prior turns that its template rendered, by template and messages."""


def _encode_once(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a text that many conversations begin with; the latest of a tokenizer's texts are kept."""
    kept = _encoded.setdefault(tokenizer, {})
    tokens = kept.get(text)
    if tokens is None:
        if len(kept) >= _MOST_ENCODED:
            kept.clear()
        tokens = kept[text] = encode(tokenizer, text)
    return tokens


def count_tokens(tokenizer: Any, text: str) -> int:
    """Length of a text in the model's tokens."""
    return len(encode(tokenizer, text))


def answer_token(tokenizer: Any, chat: Chat, form: str) -> int | None:
    """The id of the single token that a form is directly after the chat's prefill, or None if it is not one token.

    The form is tokenised together with the chat, because the same text can be one token at the start of a string and
    two tokens after a prefill, or can change the last token of the prefill.
    """
    text, before = _to_its_end(tokenizer, chat)
    tokens = encode(tokenizer, text + form)
    if len(tokens) == len(before) + 1 and tokens[:-1] == before and reads_as(tokenizer, tokens[-1], form):
        return tokens[-1]
    return None


def _to_its_end(tokenizer: Any, chat: Chat) -> tuple[str, tuple[int, ...]]:
    """What a chat's forms are tokenised together with: all after the prior turn, which is much shorter than the chat.

    The whole chat, where a tokenizer does not give the same tokens for the rest by itself.
    """
    rest = chat.text.removeprefix(chat.prior_text)
    if _encode_once(tokenizer, rest) == chat.question_tokens:
        return rest, chat.question_tokens
    return chat.text, chat.tokens


def next_token(tokenizer: Any, chat: Chat, text: str) -> int | None:
    """The id of the first token of a text directly after the chat's prefill.

    Returns:
        None if the two share a token, or if the tokenizer does not know the text.
    """
    tokens = encode(tokenizer, chat.text + text)
    if len(tokens) > len(chat.tokens) and tokens[: len(chat.tokens)] == chat.tokens:
        token = tokens[len(chat.tokens)]
        return None if token == getattr(tokenizer, "unk_token_id", None) else token
    return None


def _tokenized(tokenizer: Any, messages: Messages, prior_messages: int) -> Chat:
    """A tokenised conversation; see `tokenize_chat`."""
    text = rendered(tokenizer, messages)
    tokens = encode(tokenizer, text)
    lost = normalised(tokenizer, text)
    beginning = own_beginning(tokenizer)
    if tokens[: len(beginning)] != beginning:
        first = decode(tokenizer, beginning)
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: leaves out {first!r}; expected it first, where the tokenizer "
            f"itself puts it",
            "write it at the beginning of a template, -M chat_template=FILE",
        )
    if prior_messages == 0:
        return Chat(text, tokens, 0, normalised=lost)
    prior_text = _prior_text(tokenizer, messages, prior_messages, text, tokens)
    prior = len(_encode_once(tokenizer, prior_text))
    return Chat(text, tokens, prior, prior_text=prior_text, normalised=lost)


def _prior_text(tokenizer: Any, messages: Messages, prior_messages: int, text: str, tokens: tuple[int, ...]) -> str:
    """The prior turn as it is rendered in a conversation; the same for every question after it.

    Args:
        tokenizer: The model's tokenizer.
        messages: The conversation.
        prior_messages: How many leading messages are the prior turn.
        text: The rendered conversation.
        tokens: Its token ids.
    """
    kept = _prior_texts.setdefault(tokenizer, {})
    key = (
        str(tokenizer.chat_template),
        *((message["role"], message["content"]) for message in messages[:prior_messages]),
    )
    found = kept.get(key) or _find_prior_text(tokenizer, messages, prior_messages, text, tokens)
    if not text.startswith(found):
        where = first_difference(found, text)
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: rewrites earlier turns when later ones are added (from character "
            f"{where}: {found[where : where + 24]!r} becomes {text[where : where + 24]!r}); expected the prior turn to "
            f"be the same before every question"
        )
    if not _begins(tokens, _encode_once(tokenizer, found)):
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: the prior turn's end ({found[-12:]!r}) and the next turn share a "
            f"token; expected a token boundary between turns"
        )
    if key not in kept:
        if len(kept) >= _MOST_ENCODED:
            kept.clear()
        kept[key] = found
    return found


def _find_prior_text(
    tokenizer: Any, messages: Messages, prior_messages: int, text: str, tokens: tuple[int, ...]
) -> str:
    """The prior turn as a conversation has it: as it is rendered alone, or else as far as its end marks go."""
    refuse_other_reading(tokenizer, messages, text)
    try:
        alone = apply(tokenizer, messages[:prior_messages])
        if text.startswith(alone):
            return alone
        tail = alone[content_stretches(alone, messages[:prior_messages])[-1][1] :]
    except REJECTED:
        tail = ""
    if messages[0]["role"] == "system" and keeps_prior_turn(tokenizer, messages[1:], prior_messages - 1):
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: moves the system turn behind earlier turns when later ones are "
            f"added; expected it to stay first"
        )
    stretches = content_stretches(text, messages)
    reply_end, question_begin = stretches[prior_messages - 1][1], stretches[prior_messages][0]
    ends = possible_ends(text, reply_end, question_begin, tail, _first_header(tokenizer, messages, text, stretches))
    end = next((end for end in ends if _begins(tokens, encode(tokenizer, text[:end]))), reply_end)
    asked = messages[prior_messages]
    other = {**asked, "content": next(text for text in _OTHER_QUESTIONS if text != asked["content"])}
    otherwise = rendered(tokenizer, [*messages[:prior_messages], other, *messages[prior_messages + 1 :]])
    if not otherwise.startswith(text[:end]):
        where = first_difference(text[:end], otherwise)
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: renders earlier turns otherwise before another question (from "
            f"character {where}: {text[where : where + 24]!r}); expected the prior turn to be the same"
        )
    return text[:end]


def _first_header(tokenizer: Any, messages: Messages, text: str, stretches: Sequence[tuple[int, int]]) -> str:
    """What the template writes before a user's content that begins a chat."""
    number = next(number for number, message in enumerate(messages) if message["role"] == "user")
    try:
        alone = apply(tokenizer, messages[number : number + 1])
        return alone[: content_stretches(alone, messages[number : number + 1])[0][0]]
    except REJECTED:
        return text[stretches[number - 1][1] if number else 0 : stretches[number][0]]


def _begins(tokens: tuple[int, ...], beginning: tuple[int, ...]) -> bool:
    """Whether some token ids begin with others, and go on after them."""
    return len(beginning) < len(tokens) and tokens[: len(beginning)] == beginning


def _remedy(tokenizer: Any, messages: Messages, prior_messages: int) -> str:
    """What to do about a template that does not suit a conversation: what was tried, and helps."""
    if messages[0]["role"] == "system" and _suits(tokenizer, messages[1:], max(prior_messages - 1, 0)):
        return "run without a system turn, -T system=none"
    if _suits(with_chatml(tokenizer), messages, prior_messages):
        return "pass a template that suits it, e.g. -M chat_template=chatml"
    return "pass another template, -M chat_template=FILE"


def _suits(tokenizer: Any | None, messages: Messages, prior_messages: int) -> bool:
    try:
        return tokenizer is not None and bool(_tokenized(tokenizer, messages, prior_messages))
    except InputError:
        return False
