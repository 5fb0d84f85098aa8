"""Turn a chat into tokens once, and know which tokens are the prior turn, or refuse.

The whole conversation is rendered and tokenised a single time. The prior turn is its leading part: system
turn, first user turn and first assistant turn, the template's own tokens included. Nothing is re-rendered
later, so the steered positions and the answered question cannot come from two different texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from introbench.errors import InputError

Messages = Sequence[dict[str, str]]
"""Chat messages with the keys `role` and `content`."""


@dataclass(frozen=True)
class Chat:
    """A tokenised conversation.

    Attributes:
        text: What the template made of the conversation; it ends with the assistant's prefill.
        tokens: Token ids of `text`.
        prior: How many of the tokens are the prior turn (they come first).
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
        """Everything after the prior turn: the question and the prefill of its answer."""
        return self.tokens[self.prior :]


def tokenize_chat(tokenizer: Any, messages: Messages, prior_messages: int) -> Chat:
    """Tokenise a conversation whose last message is a prefill of the assistant's answer.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation; the last message is the assistant's prefill.
        prior_messages: How many leading messages form the prior turn; 0 if there is none.

    Raises:
        InputError: The tokenizer has no chat template, or its template rejects a role, strips the prefill,
            rewrites earlier turns, or glues the prior turn's last token to the question's first.
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
    prior_tokens = encode(tokenizer, prior_text)
    if tokens[: len(prior_tokens)] != prior_tokens or len(tokens) == len(prior_tokens):
        raise InputError(
            f"chat template of {_name(tokenizer)}: the prior turn's end ({prior_text[-12:]!r}) and the next turn share "
            f"a token; expected a token boundary between turns; pass another template, -M chat_template=FILE"
        )
    return Chat(text=text, tokens=tokens, prior=len(prior_tokens))


def render(tokenizer: Any, messages: Messages, *, prefill: bool = True) -> str:
    """Apply the chat template and check that every turn arrives as it was written.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        messages: The conversation.
        prefill: Whether the last message is an answer to be continued (no end-of-turn marks after it).

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
    """Token ids of `text`, with nothing added: a rendered chat already carries its special tokens."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def count_tokens(tokenizer: Any, text: str) -> int:
    """Length of `text` in the model's own tokens."""
    return len(encode(tokenizer, text))


def answer_token(tokenizer: Any, chat: Chat, form: str) -> int | None:
    """The id of the single token that `form` becomes right after the chat's prefill, or None.

    Checked in context, because the same text can be one token at the start of a string and two after a
    prefill, or can change the prefill's own last token.
    """
    tokens = encode(tokenizer, chat.text + form)
    if len(tokens) == len(chat.tokens) + 1 and tokens[:-1] == chat.tokens:
        return tokens[-1]
    return None


def next_token(tokenizer: Any, chat: Chat, text: str) -> int | None:
    """The id of the first token of `text` right after the chat's prefill, or None if the two share a token."""
    tokens = encode(tokenizer, chat.text + text)
    if len(tokens) > len(chat.tokens) and tokens[: len(chat.tokens)] == chat.tokens:
        return tokens[len(chat.tokens)]
    return None


def _apply(tokenizer: Any, messages: Messages, prefill: bool) -> str:
    return tokenizer.apply_chat_template(list(messages), tokenize=False, continue_final_message=prefill)


def _keeps_prior_turn(tokenizer: Any, messages: Messages, prior_messages: int) -> bool:
    try:
        whole = _apply(tokenizer, messages, prefill=True)
        return whole.startswith(_apply(tokenizer, messages[:prior_messages], prefill=False))
    except (TemplateError, ValueError):
        return False


def _rejection(tokenizer: Any, messages: Messages, error: TemplateError) -> str:
    """Say which turn a template refused: the system turn, if the rest is accepted without it."""
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
    return (
        f"chat template of {_name(tokenizer)}: strips the prefill {messages[-1]['content']!r}; expected the rendered "
        f"chat to end with it; pass a template that keeps it, -M chat_template=FILE"
    )


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def _first_difference(expected: str, text: str) -> int:
    return next((i for i, pair in enumerate(zip(expected, text, strict=False)) if pair[0] != pair[1]), len(text))
