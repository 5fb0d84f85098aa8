"""What an engine is asked (tokens, arms, what to read) and what it answers."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from introbench.engine.forks import Forks
from introbench.engine.weights import Weights

Deltas = Mapping[int, Tensor]
"""Block index to what is added to that block's output, float32 [rows, hidden]; a row of zeros is a sham."""

NO_DELTAS: Deltas = MappingProxyType({})
Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Arms:
    """Injections that are run side by side in one batch, one row each.

    Arms are compared by identity, even where their numbers agree: make one object and use it for every request.

    Attributes:
        rows: Number of arms.
        first: The first block at whose output arms differ; up to it, one row stands for all of them.
        deltas: What is added while the prior turn is read, when its cache is filled.
        question_deltas: What is added while the question is read, so that the injection is still on in the answer.
        filler: Weights that fill the prior turn's cache; None for those that answer.
        profile: The share of `deltas` that each token of the prior turn gets, float32 [rows, prior tokens]; None if
            every token gets all of it. Arms with a profile belong to prior turns of that length.
    """

    rows: int
    first: int
    deltas: Deltas = field(repr=False)
    question_deltas: Deltas = field(default_factory=lambda: NO_DELTAS, repr=False)
    filler: Weights | None = field(default=None, repr=False)
    profile: Tensor | None = field(default=None, repr=False)

    @classmethod
    def steered(
        cls,
        deltas: Deltas,
        question_deltas: Deltas = NO_DELTAS,
        filler: Weights | None = None,
        profile: Tensor | None = None,
    ) -> "Arms":
        """Arms that differ from the lowest block of these deltas on."""
        first = min([*deltas, *question_deltas])
        rows = {**deltas, **question_deltas}[first].shape[0]
        return cls(rows, first, deltas, question_deltas, filler, profile)

    def __post_init__(self) -> None:
        """Refuse deltas and profiles of another shape, and deltas below the first block."""
        for block, delta in [*self.deltas.items(), *self.question_deltas.items()]:
            if block < self.first or delta.dim() != 2 or delta.shape[0] != self.rows:
                raise ValueError(
                    f"delta of shape {tuple(delta.shape)} at block {block}: expected [{self.rows}, hidden] "
                    f"at block {self.first} or above"
                )
        if self.profile is not None and (self.profile.dim() != 2 or self.profile.shape[0] != self.rows):
            raise ValueError(f"profile of shape {tuple(self.profile.shape)}: expected [{self.rows}, prior tokens]")

    def part(self, start: int, stop: int) -> "Arms":
        """The arms of rows `start` to `stop`."""
        deltas, question_deltas = (
            {block: delta[start:stop] for block, delta in by_block.items()}
            for by_block in (self.deltas, self.question_deltas)
        )
        profile = None if self.profile is None else self.profile[start:stop]
        return Arms(stop - start, self.first, deltas, question_deltas, self.filler, profile)

    @cached_property
    def forks(self) -> Forks:
        """The blocks at which these arms part from each other."""
        return Forks(self.rows, self._added())

    def _added(self) -> Iterator[tuple[int, list[Hashable]]]:
        """What every arm is given at a block's output, rising by block; equal values stand for equal additions."""
        shares = [b""] * self.rows if self.profile is None else _as_bytes(self.profile)
        for block in sorted({*self.deltas, *self.question_deltas}):
            additions: list[list[Hashable]] = []
            for deltas in (self.deltas, self.question_deltas):
                delta = deltas.get(block)
                if delta is not None:
                    is_steered = delta.any(dim=1).tolist()
                    additions.append(
                        [
                            (vector, share) if steered else None
                            for vector, share, steered in zip(_as_bytes(delta), shares, is_steered, strict=True)
                        ]
                    )
            yield block, list(zip(*additions, strict=True))


def _as_bytes(rows: Tensor) -> list[bytes]:
    return [row.tobytes() for row in rows.float().cpu().numpy()]


@dataclass(frozen=True)
class Want:
    """What to read at a conversation's last position.

    Attributes:
        tokens: Token ids whose log-probabilities to read.
        top: How many of the most likely tokens to read.
        lens: Whether to read the log-probabilities of `tokens` after every block too (logit lens).
        residuals: Whether to read the residual stream after every block.
        divergence: Whether to read how far each arm's distribution is from the first arm's.
    """

    tokens: Tokens = ()
    top: int = 0
    lens: bool = False
    residuals: bool = False
    divergence: bool = False

    @property
    def every_block(self) -> bool:
        """Whether anything is read after blocks before the last one."""
        return self.lens or self.residuals


@dataclass(frozen=True)
class Request:
    """One conversation under some arms.

    Attributes:
        tokens: Token ids of the whole conversation.
        prior: How many of them are the prior turn, on which `Arms.deltas` are added; at least 1, and fewer than all.
        want: What to read at the last token.
        arms: The injections; None to run the model with nothing added, as one row.
    """

    tokens: Tokens
    prior: int
    want: Want
    arms: Arms | None = None

    def __post_init__(self) -> None:
        """Refuse a conversation without two parts, and arms that were made for a prior turn of another length."""
        if not 0 < self.prior < len(self.tokens):
            raise ValueError(f"prior={self.prior} of {len(self.tokens)} tokens: expected at least one on each side")
        profile = self.arms.profile if self.arms else None
        if profile is not None and profile.shape[1] != self.prior:
            raise ValueError(f"profile of {profile.shape[1]} tokens: expected one of the prior turn's {self.prior}")

    @property
    def prior_tokens(self) -> Tokens:
        """The tokens of the prior turn."""
        return self.tokens[: self.prior]

    @property
    def question(self) -> Tokens:
        """The tokens after the prior turn."""
        return self.tokens[self.prior :]


@dataclass(frozen=True)
class Reading:
    """What was read for one request, one row per arm; on the CPU.

    Attributes:
        logprobs: Log-probabilities of the tokens in `Want.tokens`, float32 [rows, tokens].
        top_ids: The most likely tokens, [rows, top].
        top_logprobs: Their log-probabilities, float32 [rows, top].
        finite: Per row, whether the distribution and the log-probabilities in `logprobs` are all finite.
        lens: Log-probabilities of the same tokens after every block, float32 [layers, rows, tokens]; the last layer's
            are `logprobs`. Empty unless wanted.
        residuals: Residual stream after every block, float32 [layers, rows, hidden]. Empty unless wanted.
        divergence: Kullback-Leibler divergence KL(first row || row) of the next token's distributions, in nats,
            float64 [rows]. Empty unless wanted.
    """

    logprobs: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    finite: list[bool]
    lens: Tensor = field(default_factory=lambda: torch.empty(0))
    residuals: Tensor = field(default_factory=lambda: torch.empty(0))
    divergence: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Sequence[int], "Reading"]]) -> "Reading":
        """Join readings of different rows.

        Args:
            parts: Readings, each with the rows of the joined reading that its rows become.
        """
        if len(parts) == 1:
            return parts[0][1]
        order = torch.tensor([row for rows, _ in parts for row in rows]).argsort()
        readings = [reading for _, reading in parts]

        def joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
            return torch.cat(list(tensors), dim=dim).index_select(dim, order) if tensors[0].numel() else tensors[0]

        finite = [flag for reading in readings for flag in reading.finite]
        return cls(
            logprobs=joined([reading.logprobs for reading in readings], 0),
            top_ids=joined([reading.top_ids for reading in readings], 0),
            top_logprobs=joined([reading.top_logprobs for reading in readings], 0),
            finite=[finite[index] for index in order.tolist()],
            lens=joined([reading.lens for reading in readings], 1),
            residuals=joined([reading.residuals for reading in readings], 1),
            divergence=joined([reading.divergence for reading in readings], 0),
        )
