"""How many concepts would show an effect of a given size: the power of an interval (Cohen 1988)."""

import math
from bisect import bisect_left

from scipy import stats

from introbench.stats.intervals import Interval

POWER = 0.8
"""Chance with which an effect that exists should be shown."""

FEWEST_CONCEPTS = 3
"""Smallest number of concepts that is proposed."""

MOST_CONCEPTS = 100_000
"""If so many concepts would not be enough, no number is proposed."""


def concepts_needed(interval: Interval, margin: float, level: float = 0.95) -> int | None:
    """How many concepts would show an effect as large as the margin with a chance of `POWER`.

    The part of the interval's width that comes from the concepts is scaled to their number; the rest, the interval's
    floor, comes from the questions and stays as it is.

    Args:
        interval: What was measured with the concepts at hand, in nats.
        margin: The effect, in nats.
        level: Nominal coverage of the interval.

    Returns:
        A number of concepts, at least `FEWEST_CONCEPTS`; 0 if the interval has no ends to scale, None if not even
        `MOST_CONCEPTS` would be enough.
    """
    if interval.units < 2 or not math.isfinite(interval.low):
        return 0
    tail = (1 - level) / 2
    half, floor = (interval.high - interval.low) / 2, interval.floor
    error = math.sqrt(max(0.0, half**2 - floor**2)) / float(stats.t.ppf(1 - tail, interval.units - 1))
    spread = error * math.sqrt(interval.units)
    questions = floor / float(stats.norm.ppf(1 - tail))

    def shows(count: int) -> bool:
        concepts = spread / math.sqrt(count)
        reach = math.hypot(floor, float(stats.t.ppf(1 - tail, count - 1)) * concepts)
        return reach + float(stats.t.ppf(POWER, count - 1)) * math.hypot(questions, concepts) <= margin

    needed = FEWEST_CONCEPTS + bisect_left(range(FEWEST_CONCEPTS, MOST_CONCEPTS), True, key=shows)
    return needed if needed < MOST_CONCEPTS else None
