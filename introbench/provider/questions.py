"""A model's questions as it reads them: tokens, and the forms of the answers; each is looked up once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from introbench.engine import Want
from introbench.prompts.answers import Forms
from introbench.prompts.readable import read_chat
from introbench.prompts.tokenized import QuestionSource, TokenizedQuestion
from introbench.provider.calls import Asking

TOP_TOKENS = 4
_REMEMBERED_QUESTIONS = 4096


@dataclass(frozen=True)
class ReadableQuestion:
    """A tokenised question with the forms of its answers that can be read.

    Attributes:
        tokenized: The question.
        forms: For each answer, its forms as text and token.
        left_out: Forms that are no single token.
    """

    tokenized: TokenizedQuestion
    forms: Forms
    left_out: list[str]

    @property
    def form_texts(self) -> dict[str, list[str]]:
        """For each answer, its forms as text."""
        return {name: [text for text, _ in forms] for name, forms in self.forms.items()}

    def by_form(self, logprobs: Sequence[float]) -> dict[str, list[float]]:
        """Log-probabilities of all forms, [forms], as those of each answer's forms."""
        rest = iter(logprobs)
        return {name: list(islice(rest, len(forms))) for name, forms in self.forms.items()}

    def by_answer(self, logprobs: Tensor) -> dict[str, list[float]]:
        """Log-probabilities of all forms after every block, [forms, layers], as those of each answer as a whole."""
        parts = logprobs.split([len(forms) for forms in self.forms.values()])
        return {name: part.logsumexp(dim=0).tolist() for name, part in zip(self.forms, parts, strict=True)}


class Questions:
    """Tokenises conversations, and keeps what was tokenised.

    Args:
        tokenizer: The model's tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._kept: dict[tuple[Asking, int], ReadableQuestion] = {}

    def of(self, asking: Asking, prior_messages: int) -> ReadableQuestion:
        """A conversation's tokens and its answers'.

        Args:
            asking: Its messages, and what is read after them.
            prior_messages: How many leading messages are the prior turn.

        Raises:
            InputError: The model's template or tokenizer does not carry it as it is written.
        """
        key = (asking, prior_messages)
        if key not in self._kept:
            messages, answers = asking
            readable = read_chat(self._tokenizer, messages, prior_messages, answers)
            if len(self._kept) >= _REMEMBERED_QUESTIONS:
                self._kept.clear()
            texts, tokens = zip(*(form for of_answer in readable.forms.values() for form in of_answer), strict=True)
            source = QuestionSource(messages, prior_messages, texts, answers.first_tokens)
            tokenized = TokenizedQuestion(readable.chat, Want(tokens, TOP_TOKENS, answers.lens), source)
            self._kept[key] = ReadableQuestion(tokenized, readable.forms, readable.left_out)
        return self._kept[key]
