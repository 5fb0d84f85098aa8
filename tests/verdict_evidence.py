"""Evidence made by hand, for the tests of verdicts."""

import math

from introbench.analysis.evidence import Evidence
from introbench.stats.intervals import Interval


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 9)


NONE = interval(-0.1, 0.1)
WIDE = interval(-0.9, 1.5)
LARGE = interval(1.5, 2.5)
LITTLE = interval(0.1, 0.3)
NEGATIVE = interval(-1.5, -0.6)
POINT = Interval(2.0, math.nan, math.nan, 1)
TRACKING = {"excess": LARGE, "beyond_random": LARGE, "random_beyond_half": NEGATIVE}
"""The excess is large, and that of random vectors is less than half of it."""
INWARD = {**TRACKING, "salience": NONE, "beyond_salience": LARGE, "salience_beyond_half": NEGATIVE}
"""And so is that of what stands out."""
NOT_SALIENT = {"salience": NONE, "beyond_salience": NONE}
"""What stands out was asked, too, and nothing does."""
HALF = {"random": LARGE, "random_beyond_half": LARGE}
SALIENT = {"salience": LARGE, "salience_beyond_half": LARGE}


def evidence(**numbers: object) -> Evidence:
    """A run on which nothing has an effect, but for the given numbers."""
    usual = {
        "live": 9,
        "tested": 9,
        "concepts": 9,
        "questions": 24,
        "controls": 44,
        "controls_planned": 44,
        "near": 1.0,
        "dose_ratio": 1.0,
        "baseline": 2.0,
        "salience_asked": "salience" in numbers,
        "salience_near": 1.0,
        "random_beyond_half": NONE,
    }
    nothing = dict.fromkeys(("excess", "random", "beyond_random", "bias", "flattening", "document"), NONE)
    return Evidence(**{**usual, **nothing, **numbers})  # type: ignore[arg-type]
