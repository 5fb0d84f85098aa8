"""Where arms begin to differ: arms are run as one row for as long as the same has been added to them.

In a sweep, arms that are steered in blocks 5 to 10 and in blocks 5 to 20 are one row up to block 10; there the row
forks. In any batch, the first steered block itself is run for one row, since vectors are added to its output.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fork:
    """How rows become more rows at a block's output.

    Attributes:
        origins: The row before the fork of each row after it, [new rows].
        arms: One of the arms that each new row stands for, [new rows].
        row_of: The new row of each arm, [arms].
    """

    origins: Tensor
    arms: Tensor
    row_of: Tensor


class Forks:
    """The forks of a batch of arms.

    Args:
        arms: Number of arms.
        added: Blocks at whose output something is added, rising, and for each a value per arm that stands for what the
            arm is given; arms are given the same where their values are equal.
    """

    def __init__(self, arms: int, added: Iterable[tuple[int, Sequence[Hashable]]]) -> None:
        self._arms = arms
        self._forks: dict[int, Fork] = {}
        row_of = [0] * arms
        for block, additions in added:
            numbers: dict[tuple[int, Hashable], int] = {}
            new = [numbers.setdefault(key, len(numbers)) for key in zip(row_of, additions, strict=True)]
            arm_of_row = [new.index(row) for row in range(len(numbers))]
            origins = [row_of[arm] for arm in arm_of_row]
            self._forks[block] = Fork(torch.tensor(origins), torch.tensor(arm_of_row), torch.tensor(new))
            row_of = new

    def at(self, block: int) -> Fork | None:
        """The fork at a block's output, if something is added there."""
        return self._forks.get(block)

    def rows_after(self, block: int) -> int:
        """How many rows leave a block."""
        fork = self._latest(block)
        return len(fork.origins) if fork else 1

    def row_of_arms(self, block: int) -> list[int]:
        """The row of each arm that leaves a block."""
        fork = self._latest(block)
        return fork.row_of.tolist() if fork else [0] * self._arms

    def spread(self, block: int, residual: Tensor) -> Tensor:
        """A block's output for every arm, [arms, ...], from that of its rows, [rows, ...]."""
        fork = self._latest(block)
        if fork is None:
            return residual.expand(self._arms, *residual.shape[1:])
        if len(fork.origins) == self._arms:  # rows are numbered in the order of the arms
            return residual
        return residual[fork.row_of.to(residual.device)]

    def _latest(self, block: int) -> Fork | None:
        return next((fork for at, fork in reversed(self._forks.items()) if at <= block), None)
