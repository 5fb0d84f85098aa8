"""How many units an effect of a given size would need to be shown."""

import math
from bisect import bisect_left

from scipy import stats

from introbench.stats.intervals import Interval

POWER = 0.8

MOST_CONCEPTS = 100_000


def concepts_needed(interval: Interval, margin: float, level: float = 0.95) -> int | None:
    """How many concepts would show an effect as large as the margin with a chance of `POWER`.

    Scales what of the interval's width comes from the concepts; the rest, its floor, stays as it is.

    Args:
        interval: What was found with the concepts at hand.
        margin: The effect, in nats.
        level: Of the interval.

    Returns:
        A number of concepts, at least 3; 0 if there is no interval to go by, None if no number would do.
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

    needed = 3 + bisect_left(range(3, MOST_CONCEPTS), True, key=shows)
    return needed if needed < MOST_CONCEPTS else None
