"""A question in a model's tokens, and the messages and answer forms that it came from."""

from dataclasses import dataclass, field

from introbench.engine import Want
from introbench.prompts.chat import Chat


@dataclass(frozen=True)
class QuestionSource:
    """The texts that a tokenised question came from, so that it can be tokenised again and compared.

    Attributes:
        turns: Role and content of each message.
        prior_messages: How many of them are the prior turn.
        forms: Surface forms of the answers, in the order of the tokens that are read.
        first_tokens: Whether only the first token of a form is read.
    """

    turns: tuple[tuple[str, str], ...]
    prior_messages: int
    forms: tuple[str, ...]
    first_tokens: bool = False


@dataclass(frozen=True)
class TokenizedQuestion:
    """A tokenised conversation, and what to read after it.

    Attributes:
        chat: The conversation's text and tokens.
        want: What to read after its last token.
        source: The texts that both came from, if they are known; not compared.
    """

    chat: Chat
    want: Want
    source: QuestionSource | None = field(default=None, compare=False)
