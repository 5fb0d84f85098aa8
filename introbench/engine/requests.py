"""What an engine is asked and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Arms:
    """Injections that stand side by side in one batch, one row each.

    Two objects are two sets of arms, even where their numbers agree: make one and use it for every request.

    Attributes:
        rows: Number of arms.
        first: The block from which on arms differ; below it one row stands for all of them.
        deltas: Block index to what is added to that block's output, float32 [rows, hidden]; a row of zeros is a sham.
    """

    rows: int
    first: int
    deltas: Mapping[int, Tensor] = field(repr=False)

    @classmethod
    def steered(cls, deltas: Mapping[int, Tensor]) -> "Arms":
        """The arms of some deltas: they differ from the first steered block on."""
        first = min(deltas)
        return cls(rows=deltas[first].shape[0], first=first, deltas=deltas)

    def __post_init__(self) -> None:
        """Refuse deltas that do not fit."""
        for block, delta in self.deltas.items():
            if block < self.first or delta.dim() != 2 or delta.shape[0] != self.rows:
                raise ValueError(
                    f"delta of shape {tuple(delta.shape)} at block {block}: expected [{self.rows}, hidden] "
                    f"at block {self.first} or above"
                )

    def part(self, start: int, stop: int) -> "Arms":
        """Some of the rows."""
        return Arms(stop - start, self.first, {block: delta[start:stop] for block, delta in self.deltas.items()})


@dataclass(frozen=True)
class Want:
    """What to read at a conversation's last position.

    Attributes:
        forms: Token ids whose log-probabilities are wanted.
        top: How many of the most likely tokens.
        lens: Whether the forms' log-probabilities are wanted after every block too (logit lens).
        residuals: Whether the residual stream after every block is wanted.
    """

    forms: Tokens = ()
    top: int = 0
    lens: bool = False
    residuals: bool = False

    @property
    def every_block(self) -> bool:
        """Whether blocks before the last one have to be looked at."""
        return self.lens or self.residuals


@dataclass(frozen=True)
class Request:
    """One conversation under some arms.

    Attributes:
        tokens: Token ids of the whole conversation.
        prior: How many of them are the prior turn, which alone is steered; at least one, and one must be left.
        want: What to read.
        arms: The injections; None for the model as it is.
    """

    tokens: Tokens
    prior: int
    want: Want
    arms: Arms | None = None

    def __post_init__(self) -> None:
        """Refuse a conversation that does not have two parts."""
        if not 0 < self.prior < len(self.tokens):
            raise ValueError(f"prior={self.prior} of {len(self.tokens)} tokens: expected at least one on each side")

    @property
    def prior_tokens(self) -> Tokens:
        """The steered tokens."""
        return self.tokens[: self.prior]

    @property
    def question(self) -> Tokens:
        """The tokens after the prior turn, which are never steered."""
        return self.tokens[self.prior :]


@dataclass(frozen=True)
class Reading:
    """What a request gave, on the CPU.

    Attributes:
        forms: Log-probabilities of the wanted forms, float32 [rows, forms].
        top_ids: The most likely tokens, [rows, top].
        top_logprobs: Their log-probabilities, float32 [rows, top].
        finite: Per row, whether its distribution and its forms' log-probabilities are all finite.
        lens: Log-probabilities of the forms after every block, float32 [layers, rows, forms]; the last layer's are
            `forms`. Empty unless wanted.
        residuals: Residual stream after every block, float32 [layers, rows, hidden]. Empty unless wanted.
    """

    forms: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    finite: list[bool]
    lens: Tensor = field(default_factory=lambda: torch.empty(0))
    residuals: Tensor = field(default_factory=lambda: torch.empty(0))
