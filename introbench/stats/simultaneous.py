"""Intervals of the rows of a table, or of the cells of a map, that have to hold together."""

import math
from collections.abc import Sequence
from dataclasses import replace

from scipy.special import stdtrit

from introbench.stats.intervals import Interval

LEVEL = 0.95
"""Nominal coverage of every interval by itself."""

TOGETHER = 0.96
"""Nominal coverage of all of them together. Where questions and noise vary alike, two-way intervals cover 94%. With
0.95 here, 5.6% of 1,200 empty maps of 21 cells had a cell that differed from 0; now 3.9% have one."""


def simultaneous_level(intervals: Sequence[Interval]) -> float:
    """The level at which each of several intervals has to hold for all of them to hold together (Bonferroni 1936).

    Args:
        intervals: The intervals by themselves; those without ends say nothing, and are not counted.
    """
    return 1 - (1 - TOGETHER) / max(1, sum(math.isfinite(interval.low) for interval in intervals))


def hold_together(intervals: Sequence[Interval], freedoms: Sequence[int] | None = None) -> list[Interval]:
    """The intervals, widened until all of them hold together.

    Both ends move outward by the ratio of the quantiles of Student's t at the two levels, with the degrees of freedom
    of whatever there is least of (units, questions of a family, kinds of answers). The other parts of the variance
    would grow by less, so that this is on the safe side. `two_way_interval` at the higher level is not: it takes off
    too much for noise there, and 11 of 100 empty maps of 21 cells had a cell that differed from 0.

    Measured with nine units and normal effects, 3,000 to 12,000 simulations: of 21 empty rows one or more differ from
    0 in 0-5% of tables, whether units, questions or noise prevail; with three or five units in fewer. Where units are
    as skewed as exponential ones, in 20%: no nine units say how far the tail of their distribution reaches.

    Args:
        intervals: The intervals by themselves, each of 95%.
        freedoms: The degrees of freedom of what each has least of; by default at least as many as its parts say.
    """
    tail = (1 - simultaneous_level(intervals)) / 2
    widened = []
    for interval, freedom in zip(intervals, freedoms or map(_freedom, intervals), strict=True):
        ratio = float(stdtrit(freedom, 1 - tail) / stdtrit(freedom, (1 + LEVEL) / 2))
        low, high = (interval.estimate + ratio * (end - interval.estimate) for end in (interval.low, interval.high))
        widened.append(replace(interval, low=low, high=high))
    return widened


def _freedom(interval: Interval) -> int:
    """Degrees of freedom of what an interval has least of: plain and reversed questions have a mean each."""
    of_questions = [part.count - 2 for part in interval.parts if part.source.startswith("questions")]
    of_kinds = [part.count - 1 for part in interval.parts if part.source == "kinds"]
    return max(1, min([interval.units - 1, *of_questions, *of_kinds]))


def excludes_zero(interval: Interval) -> bool:
    """Whether the interval has ends, and 0 lies beyond one of them."""
    return interval.low > 0 or interval.high < 0
