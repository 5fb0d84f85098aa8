"""A question as a model is asked it, with what it was made of."""

from dataclasses import dataclass, field

from introbench.engine import Want
from introbench.prompts.chat import Chat


@dataclass(frozen=True)
class Written:
    """What a question was made of, so that it can be made again and compared.

    Attributes:
        turns: Role and content of each message.
        prior_messages: How many of them are the prior turn.
        forms: The answers' surface forms, in the order of the tokens that are read.
        first_tokens: Whether only the first token of a form is read.
    """

    turns: tuple[tuple[str, str], ...]
    prior_messages: int
    forms: tuple[str, ...]
    first_tokens: bool = False


@dataclass(frozen=True)
class Asked:
    """One question: a conversation and what to read after it.

    Attributes:
        chat: The conversation.
        want: What to read.
        written: What both were made of, if that is known.
    """

    chat: Chat
    want: Want
    written: Written | None = field(default=None, compare=False)
