"""The reference's numbers for one question under the arms of a batch, and how far the engine's may be from them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from introbench.checks.reference import Additions, Reference
from introbench.engine import Reading, Want, Weights
from introbench.engine.proof import tolerance
from introbench.prompts.chat import Chat
from introbench.steering.arms import Parts
from introbench.steering.strength import ResolvedInjection
from introbench.steering.vectors import VectorLibrary

_NOISE = 3.0
"""In half precision, largest distance from the reference, in distances between two ways to compute the reference."""


@dataclass(frozen=True)
class EngineNumbers:
    """What the engine read for some rows of a batch.

    Attributes:
        source: Which reading it was, in a few words.
        rows: The rows of the batch that the reading's rows are.
        reading: The numbers.
    """

    source: str
    rows: Sequence[int]
    reading: Reading

    def among(self, rows: Sequence[int]) -> list[int]:
        """The rows among these that were read."""
        return [row for row in rows if row in self.rows]


class ExpectedNumbers:
    """The reference's numbers for one question, row by row of a batch; each row is computed when it is first needed.

    Args:
        reference: Gives the numbers.
        dtype: The dtype in which the model's blocks are run.
        library: Its vectors.
        chat: The question, tokenised.
        want: What is read of it.
        batch: The injections with their norms, in batch order.
        parts: How the batch was run.

    Attributes:
        tolerance: Largest distance from the reference to tolerate, in nats, but for rounding.
        logprobs: Log-probabilities of the next token for a row, float32 [vocabulary].
    """

    def __init__(
        self,
        reference: Reference,
        dtype: torch.dtype,
        library: VectorLibrary,
        chat: Chat,
        want: Want,
        batch: Sequence[ResolvedInjection],
        parts: Parts,
    ) -> None:
        self._reference = reference
        self._dtype = dtype
        self._library = library
        self._chat = chat
        self._want = want
        self._batch = batch
        self._parts = parts
        self.tolerance = tolerance(dtype)
        self.logprobs: Callable[[int], Tensor] = cache(self._compute)

    def added(self, row: int) -> Additions:
        """What the injection of a row adds, from its recipe alone."""
        (injection, norm), prior = (self._batch[row].injection, self._batch[row].norm), self._chat.prior
        shares = torch.zeros(len(self._chat.tokens))
        shares[:prior] = 0.0 if injection.spans else 1.0
        for begin, end, share in injection.spans:
            shares[begin:end] = share
        if injection.steering == "active":
            shares[prior:] = 1.0
        directions = self._library.directions_of(injection)
        if directions is None or norm == 0:
            return Additions({}, shares)
        return Additions({block: norm * directions[block] for block in range(*injection.layers)}, shares)

    def filler(self, row: int) -> Weights | None:
        """The weights that fill a row's cache; None for those that answer."""
        return next(arms.filler for rows, arms in self._parts if row in rows)

    def distance(self, numbers: EngineNumbers, row: int, as_if: int | None = None) -> float:
        """Root mean square difference of a row's log-probabilities from the reference, in nats.

        Args:
            numbers: The engine's numbers.
            row: The row.
            as_if: The row whose reference to take; None for the same.
        """
        reading, index = numbers.reading, numbers.rows.index(row)
        ids = [*self._want.tokens, *reading.top_ids[index].tolist()]
        logprobs = torch.cat([reading.logprobs[index], reading.top_logprobs[index]]).double()
        expected = self.logprobs(row if as_if is None else as_if)[ids]
        known = ~expected.isnan()
        return float((logprobs - expected)[known].square().mean().sqrt().nan_to_num(nan=math.inf))

    def allowed(self, row: int, distance: float) -> float:
        """Largest distance of a row from the reference to tolerate, in nats.

        In half precision, rounding may be larger than the tolerance. Then it is measured for these tokens, if the
        reference can be computed in another way.

        Args:
            row: The row.
            distance: Its distance; rounding is measured only if this is beyond the tolerance.
        """
        if distance <= self.tolerance or self._dtype == torch.float32 or self.filler(row):
            return self.tolerance
        otherwise = self._reference.rounding(self._chat.tokens, self._chat.prior, self.added(row))
        if otherwise is None:
            return self.tolerance
        noise = (otherwise - self.logprobs(row))[list(self._want.tokens)].square().mean().sqrt()
        return max(self.tolerance, _NOISE * float(noise.nan_to_num(nan=0.0)))

    def gap(self, row: int, other: int) -> float:
        """Root mean square difference between the references of two rows, over the forms that are read, in nats."""
        difference = (self.logprobs(row) - self.logprobs(other))[list(self._want.tokens)]
        return float(difference[~difference.isnan()].square().mean().sqrt())

    def run_clean(self, row: int) -> None:
        """Run the reference of a row with nothing added, so that it can be watched."""
        self._compute(row, Additions({}, torch.zeros(len(self._chat.tokens))))

    def _compute(self, row: int, added: Additions | None = None) -> Tensor:
        chat, added = self._chat, added or self.added(row)
        return self._reference.logprobs(chat.tokens, chat.prior, added, self.filler(row))
