"""Intervals of the rows of a table, or of the cells of a map, that have to hold together."""

import math
from collections.abc import Sequence

from introbench.stats.intervals import Interval


def simultaneous_level(intervals: Sequence[Interval], level: float = 0.95) -> float:
    """The level at which each of several intervals has to hold for all of them to hold together (Bonferroni 1936).

    Args:
        intervals: The intervals by themselves; those without ends say nothing, and are not counted.
        level: Nominal coverage of all intervals together.
    """
    return 1 - (1 - level) / max(1, sum(math.isfinite(interval.low) for interval in intervals))


def excludes_zero(interval: Interval) -> bool:
    """Whether the interval has ends, and 0 lies beyond one of them."""
    return interval.low > 0 or interval.high < 0
