"""Intervals that allow for few vectors and for few questions at once: two-way clustering."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from introbench.stats.intervals import Array, Interval, mean_interval

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class UnitEstimate:
    """A number per unit, and what each question did to it.

    Attributes:
        values: [units].
        families: For each family of questions that matters, the controls first: its degrees of freedom in the kind
            with the fewest, and its jackknife, [units, questions]: over questions, the squares of the mean over units
            sum to the variance that is due to questions.
    """

    values: Array
    families: tuple[tuple[int, Array], ...]

    def of(self, units: Mask, sign: float) -> "UnitEstimate":
        """Those of some units, times a sign."""
        return UnitEstimate(sign * self.values[units], tuple((f, sign * pulls[units]) for f, pulls in self.families))


def mean_over_kinds(estimates: Sequence[UnitEstimate]) -> UnitEstimate:
    """Mean over kinds; without any, an estimate of no units."""
    if not estimates:
        return UnitEstimate(np.zeros(0), ())
    by_family = zip(*(estimate.families for estimate in estimates), strict=True)
    return UnitEstimate(
        values=np.mean([estimate.values for estimate in estimates], axis=0),
        families=tuple(
            (min(freedom for freedom, _ in family), np.mean([pulls for _, pulls in family], axis=0))
            for family in by_family
        ),
    )


def two_way_interval(
    samples: Sequence[UnitEstimate], level: float, resamples: int, rng: np.random.Generator
) -> Interval:
    """Interval for the sum of the means of independent samples of units, which answered the same questions."""
    units = min(len(sample.values) for sample in samples)
    if units == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    estimate = float(sum(sample.values.mean() for sample in samples))
    fewest = min(freedom for freedom, _ in samples[0].families)
    if units == 1 or fewest < 1:
        return Interval(estimate, math.nan, math.nan, units)

    # A variance below the noise of single cells is so by chance, and takes no more away than that noise is given.
    noise_quantile = _quantile((units - 1) * fewest, level)
    noise, effects = 0.0, np.zeros(2)  # towards the low and the high end
    for sample in samples:
        cells = sum(_cell_variance(pulls) for _, pulls in sample.families)
        variance = sample.values.var(ddof=1) / len(sample.values)
        quantiles = np.array(noise_quantile)
        if variance > cells:
            own = mean_interval(sample.values, level=level, resamples=resamples, rng=rng)
            quantiles = np.square([own.low - own.estimate, own.high - own.estimate]) / variance
        effects += (variance - cells) * quantiles
        noise += cells * noise_quantile
    floor = 0.0
    for family in zip(*(sample.families for sample in samples), strict=True):
        variance = np.square(sum(pulls.mean(axis=0) for _, pulls in family)).sum()
        cells = sum(_cell_variance(pulls) for _, pulls in family)
        effects += (variance - cells) * (_quantile(family[0][0], level) if variance > cells else noise_quantile)
        floor += max(0.0, float(variance - cells)) * _quantile(family[0][0], level)
    low, high = np.sqrt(np.maximum(effects, 0) + noise)
    return Interval(estimate, estimate - float(low), estimate + float(high), units, math.sqrt(floor))


def _cell_variance(pulls: Array) -> float:
    """The part of the variance of the mean over units that single cells bring in by way of some questions."""
    return float(pulls.var(axis=0, ddof=1).sum()) / len(pulls)


def _quantile(freedom: int, level: float) -> float:
    """Squared quantile of Student's t."""
    return float(stdtrit(freedom, (1 + level) / 2)) ** 2
