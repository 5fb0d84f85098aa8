"""The cheapest larger run that would settle what an interval leaves open.

The parts of an interval's variance shrink with the number of units, of questions of each family, or of both. So the
width of a larger run's interval can be foretold. How likely it is to settle a question is its power (Cohen 1988), which
depends on the true effect and on the true variances. The effect is taken for normal around the estimate, and the power
is averaged over it (assurance, O'Hagan, Stevens & Campbell 2005): an estimate by itself is too good a guess of what it
estimates. So is a variance, most of all one of few units; upper confidence limits are taken in its place (Browne 1995).
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from introbench.stats.intervals import Interval, VariancePart

POWER = 0.8
"""Share of the larger runs that should settle the question."""

VARIANCE_LEVEL = 0.65
"""How likely a variance is to lie below the limit that is taken in its place."""

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""By how much the number of units and of questions may grow."""

MOST_UNITS = 120
MOST_QUESTIONS = 240
"""Larger runs are not proposed."""

_NODES = ndtri((np.arange(41) + 0.5) / 41)


@dataclass(frozen=True)
class LargerRun:
    """A larger run.

    Attributes:
        units: Number of units.
        questions: Number of questions by family, as `VariancePart.source` counts the families.
        assurance: How likely it is to settle the question.
    """

    units: int
    questions: Mapping[int, int]
    assurance: float


def cheapest_run(interval: Interval, bound: float, level: float = 0.95) -> LargerRun | None:
    """The run with the fewest answers whose interval probably lies above 0, or below a bound.

    Args:
        interval: What was measured, with the parts of its variance; without parts its units alone are scaled.
        bound: Where it has to lie below if it does not lie above 0, in nats; at least 0.
        level: Nominal coverage of the interval.

    Returns:
        None if the interval has no ends, or no run that is not too large would do.
    """
    if not math.isfinite(interval.low) or not interval.high > interval.low:
        return None
    half = (interval.high - interval.low) / 2
    quantile = float(stdtrit(interval.units - 1, (1 + level) / 2))
    parts = interval.parts or (VariancePart("units", (half / quantile) ** 2, interval.units),)
    error = math.sqrt(max(_variance(parts), (half / 4) ** 2))
    # The parts' quantiles are nearly those of the interval; what remains of the difference is carried over.
    stretch = half / _half_width(parts, level)
    likely = _upper_limits(parts)
    counts = {int(part.source.split()[1]): part.count for part in parts if part.source.startswith("questions")}
    best: tuple[float, LargerRun] | None = None
    for factors in itertools.product(FACTORS, repeat=1 + len(counts)):
        units = round(interval.units * factors[0])
        questions = {
            family: round(count * factor) for (family, count), factor in zip(counts.items(), factors[1:], strict=True)
        }
        cost = units * sum(questions.values(), start=0 if counts else 1)
        too_large = units > MOST_UNITS or any(count > MOST_QUESTIONS for count in questions.values())
        if too_large or (best is not None and cost >= best[0]):
            continue
        larger = _scaled(likely, units / interval.units, {f: questions[f] / counts[f] for f in counts})
        new_half, new_error = stretch * _half_width(larger, level), math.sqrt(max(0.0, _variance(larger)))
        assurance = _assurance(interval.estimate, error, new_half, new_error, bound)
        if assurance >= POWER:
            best = cost, LargerRun(units, questions, assurance)
    return best[1] if best else None


def _scaled(parts: tuple[VariancePart, ...], units: float, questions: Mapping[int, float]) -> tuple[VariancePart, ...]:
    """The parts with so many times as many units and questions."""
    scaled = []
    for part in parts:
        source, *family = part.source.split()
        growth = {"units": units, "kinds": 1.0}.get(source) or questions[int(family[0])]
        shrink = growth * units if source == "cells" else growth
        scaled.append(replace(part, variance=part.variance / shrink, count=round(part.count * growth)))
    return tuple(scaled)


def _variance(parts: tuple[VariancePart, ...]) -> float:
    return sum(part.variance for part in parts)


def _upper_limits(parts: tuple[VariancePart, ...]) -> tuple[VariancePart, ...]:
    """The parts with upper confidence limits of their variances.

    What varies as chi-squared is a part together with the noise of single cells that was taken off it.
    """
    taken_off = {
        part.source.replace("cells", "questions"): part.variance for part in parts if part.source.startswith("cells")
    }
    populations = sum(part.source == "units" for part in parts)
    taken_off["units"] = sum(taken_off.values()) / max(1, populations)
    limits = []
    for part in parts:
        noise, freedom = taken_off.get(part.source, 0.0), _freedom_of(part)
        ratio = 1.0 if part.source.startswith("cells") else freedom / float(chdtri(freedom, VARIANCE_LEVEL))
        limits.append(replace(part, variance=ratio * (part.variance + noise) - noise))
    return tuple(limits)


def _half_width(parts: tuple[VariancePart, ...], level: float) -> float:
    """Half width of an interval whose variance has these parts."""
    total = 0.0
    for part in parts:
        many = part.source.startswith("cells") or part.variance < 0
        total += part.variance * (2.0 if many else float(stdtrit(_freedom_of(part), (1 + level) / 2))) ** 2
    return math.sqrt(max(total, 1e-12))


def _freedom_of(part: VariancePart) -> int:
    """Degrees of freedom of units, questions or kinds."""
    return max(1, part.count - (2 if part.source.startswith("questions") else 1))


def _assurance(estimate: float, error: float, half: float, new_error: float, bound: float) -> float:
    """How likely an interval of a half width lies above 0 or below a bound, over what the effect may be."""
    effects = estimate + error * _NODES
    open_from, open_to = bound - half, half
    below = [ndtr((end - effects) / max(new_error, 1e-9)) for end in (open_from, open_to)]
    return float(1 - np.maximum(below[1] - below[0], 0.0).mean())
