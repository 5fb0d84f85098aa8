"""Apply a chat template, and check that the conversation is in the rendered chat as it was written."""

from typing import Any

from jinja2.exceptions import TemplateError

from introbench.errors import InputError, first_line
from introbench.prompts.prior_turn import Messages
from introbench.prompts.round_trip import name_of
from introbench.prompts.template import encode

REJECTED = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""What a chat template raises that cannot render a conversation."""


class UnsuitableTemplateError(InputError):
    """A chat template or tokenizer does not suit a conversation.

    Args:
        complaint: What is wrong, and what was expected.
        remedy: What to do about it; by default it is found by trying.
    """

    def __init__(self, complaint: str, remedy: str = "") -> None:
        super().__init__(complaint)
        self.remedy = remedy


def rendered(tokenizer: Any, messages: Messages) -> str:
    """A rendered conversation that contains the text of every turn; see `render`."""
    name = name_of(tokenizer)
    if not getattr(tokenizer, "chat_template", None):
        raise UnsuitableTemplateError(
            f"model {name}: has no chat template; expected an instruct model",
            "choose one, or pass a Jinja template, -M chat_template=FILE",
        )
    text = applied(tokenizer, messages, continue_final_message=True)
    if not text.endswith(messages[-1]["content"]):
        raise _stripped_prefill(tokenizer, messages)
    end = 0
    for turn, message in enumerate(messages):
        start = text.find(message["content"], end)
        if start < 0:
            raise UnsuitableTemplateError(
                f"chat template of {name}: rewrites turn {turn + 1} ({message['role']}), whose text "
                f"{message['content'][:40]!r} is not in the rendered chat"
            )
        end = start + len(message["content"])
    return text


def applied(tokenizer: Any, messages: Messages, **options: bool) -> str:
    """A rendered conversation, unchecked; a template that cannot render it is refused."""
    try:
        return apply(tokenizer, messages, **options)
    except REJECTED as error:
        if isinstance(error, ValueError) and "continue_final_message" in str(error):
            raise _stripped_prefill(tokenizer, messages) from None  # transformers did not find the last message
        reason = first_line(error)
        roles = ", ".join(message["role"] for message in messages)
        if messages[0]["role"] == "system" and _is_accepted(tokenizer, messages[1:]):
            raise UnsuitableTemplateError(
                f"chat template of {name_of(tokenizer)}: rejects a system turn ({reason})"
            ) from error
        raise UnsuitableTemplateError(
            f"chat template of {name_of(tokenizer)}: rejects the turns {roles} ({reason})"
        ) from error


def apply(tokenizer: Any, messages: Messages, **options: bool) -> str:
    """The rendered conversation, unchecked."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))


def refuse_other_reading(tokenizer: Any, messages: Messages, text: str) -> None:
    """Refuse a tokenizer that reads a rendered chat as other tokens than it makes of the messages itself.

    Args:
        tokenizer: The model's tokenizer.
        messages: A conversation whose last message is to be continued.
        text: The same as it is rendered.
    """
    own = tokenizer.apply_chat_template(list(messages), continue_final_message=True, return_dict=False)
    read = encode(tokenizer, text)
    if tuple(own) != read:
        raise UnsuitableTemplateError(
            f"tokenizer of {name_of(tokenizer)}: makes {len(own)} tokens of a chat, but reads the chat that it renders "
            f"as {len(read)} others; expected the same",
            "give the model a tokenizer whose marks can be read from text (tokenizer.json)",
        )


def _is_accepted(tokenizer: Any, messages: Messages) -> bool:
    try:
        apply(tokenizer, messages)
    except REJECTED:
        return False
    return True


def keeps_prior_turn(tokenizer: Any, messages: Messages, prior_messages: int) -> bool:
    """Whether the rendered conversation begins with its prior turn as that is rendered alone."""
    try:
        conversation = apply(tokenizer, messages, continue_final_message=True)
        return conversation.startswith(apply(tokenizer, messages[:prior_messages]))
    except REJECTED:
        return False


def _stripped_prefill(tokenizer: Any, messages: Messages) -> UnsuitableTemplateError:
    """The error for a template that strips the prefill."""
    return UnsuitableTemplateError(
        f"chat template of {name_of(tokenizer)}: strips the prefill {messages[-1]['content']!r}; expected the rendered "
        f"chat to end with it"
    )


def first_difference(expected: str, text: str) -> int:
    """Index of the first character in which two texts differ."""
    return next(
        (i for i, (a, b) in enumerate(zip(expected, text, strict=False)) if a != b), min(len(expected), len(text))
    )
