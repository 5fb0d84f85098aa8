"""Where arms begin to differ: arms to which the same was added so far are one row, which forks where they part.

In a sweep, arms that are steered in blocks 5 to 10 and in blocks 5 to 20 are one row up to block 10. In any batch, the
first steered block itself is run for one row, since what is added is added to its output.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fork:
    """What becomes of rows at a block's output.

    Attributes:
        origins: Which row each new row comes from, [new rows].
        arms: An arm that each new row stands for, [new rows].
        row_of: The new row of each arm, [arms].
    """

    origins: Tensor
    arms: Tensor
    row_of: Tensor


class Forks:
    """The forks of some arms.

    Args:
        arms: Number of arms.
        added: Blocks in which something is added, rising, each with what is added to every arm; what is equal is
            the same.
    """

    def __init__(self, arms: int, added: Iterable[tuple[int, Sequence[Hashable]]]) -> None:
        self._arms = arms
        self._forks: dict[int, Fork] = {}
        row_of = [0] * arms
        for block, several in added:
            numbers: dict[tuple[int, Hashable], int] = {}
            new = [numbers.setdefault(key, len(numbers)) for key in zip(row_of, several, strict=True)]
            stand_for = [new.index(row) for row in range(len(numbers))]
            origins = [row_of[arm] for arm in stand_for]
            self._forks[block] = Fork(torch.tensor(origins), torch.tensor(stand_for), torch.tensor(new))
            row_of = new

    def at(self, block: int) -> Fork | None:
        """The fork at a block's output, if something is added there."""
        return self._forks.get(block)

    def rows_after(self, block: int) -> int:
        """How many rows leave a block."""
        fork = self._latest(block)
        return len(fork.origins) if fork else 1

    def spread(self, block: int, residual: Tensor) -> Tensor:
        """What left a block, for every arm: [arms, ...] from [rows, ...]."""
        fork = self._latest(block)
        if fork is None:
            return residual.expand(self._arms, *residual.shape[1:])
        if len(fork.origins) == self._arms:  # rows are numbered in the order of the arms
            return residual
        return residual[fork.row_of.to(residual.device)]

    def _latest(self, block: int) -> Fork | None:
        return next((fork for at, fork in reversed(self._forks.items()) if at <= block), None)
