"""The answers that are read after a conversation, each in one or more surface forms that are single tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from introbench.errors import InputError
from introbench.prompts.chat import Chat, answer_token, next_token

Forms = dict[str, list[tuple[str, int]]]
"""Surface forms of each answer with their token ids, by the answer's name."""


@dataclass(frozen=True)
class Answers:
    """Named answers, such as yes and no.

    Attributes:
        forms: Name and surface forms of each answer. The n-th forms of all answers have the same shape (`" yes"` and
            `" no"`; `" Yes"` and `" No"`); either all of them are read or none.
        first_tokens: Whether a form may be longer than one token; its first token is read then.
        lens: Whether the answers are also read after every block (logit lens).
    """

    forms: tuple[tuple[str, tuple[str, ...]], ...]
    first_tokens: bool = False
    lens: bool = False

    @classmethod
    def of(cls, forms: Mapping[str, Sequence[str]], first_tokens: bool = False, lens: bool = False) -> "Answers":
        """Answers by name."""
        return cls(tuple((name, tuple(variants)) for name, variants in forms.items()), first_tokens, lens)

    def to_json(self) -> dict[str, Any]:
        """The answers as JSON values."""
        return asdict(self) | {"forms": {name: list(variants) for name, variants in self.forms}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Answers":
        """The answers that `to_json` gave these values for."""
        return cls.of(**values)

    @property
    def names(self) -> tuple[str, ...]:
        """The answers' names."""
        return tuple(name for name, _ in self.forms)

    def tokens(self, tokenizer: Any, chat: Chat) -> tuple[Forms, list[str]]:
        """Determine which forms can be read after a chat's prefill.

        Args:
            tokenizer: The model's tokenizer.
            chat: The conversation.

        Returns:
            The forms that are distinct tokens, with their ids; and the forms that are left out.

        Raises:
            InputError: The answers' first forms cannot be read.
        """
        readable: Forms = {name: [] for name in self.names}
        left_out: list[str] = []
        taken: set[int] = set()
        for number, variants in enumerate(zip(*(variants for _, variants in self.forms), strict=True)):
            tokens = [self._token(tokenizer, chat, form) for form in variants]
            ids = {token for token in tokens if token is not None}
            if None in tokens or len(ids) < len(tokens) or ids & taken:
                if number == 0:
                    raise InputError(self._complaint(variants, tokens, chat))
                left_out.extend(variants)
                continue
            taken |= ids
            for name, form, token in zip(self.names, variants, tokens, strict=True):
                assert token is not None
                readable[name].append((form, token))
        return readable, left_out

    def _token(self, tokenizer: Any, chat: Chat, form: str) -> int | None:
        return next_token(tokenizer, chat, form) if self.first_tokens else answer_token(tokenizer, chat, form)

    def _complaint(self, variants: Sequence[str], tokens: Sequence[int | None], chat: Chat) -> str:
        """The error text for forms that cannot be read; `tokens` are their ids, or None."""
        after = f"after {chat.text[-16:]!r} for this tokenizer"
        first: dict[int, str] = {}
        for form, token in zip(variants, tokens, strict=True):
            if token is None:
                wanted = "begins with no token of its own" if self.first_tokens else "is not one token"
                return f"answer form {form!r}: {wanted} {after}; expected one; choose another answer format or concept"
            if token in first:
                return (
                    f"answer forms {first[token]!r} and {form!r}: are the same token {after}; expected two; choose "
                    f"another answer format or concept"
                )
            first[token] = form
        raise ValueError(f"nothing is wrong with {variants!r}")
