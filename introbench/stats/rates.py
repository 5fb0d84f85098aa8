"""Rates of yes and no answers: how well two kinds of trials are told apart, with intervals clustered by unit."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from introbench.stats.intervals import FEWEST_FOR_BOOTSTRAP, NOT_MEASURED, Interval

Array = NDArray[np.float64]


def rate_interval(yes: Sequence[float], trials: Sequence[float], *, level: float = 0.95) -> Interval:
    """Interval for the rate of yes, over trials that come in clusters.

    Clopper and Pearson's (1934) exact binomial interval for an effective number of trials: that which gives the
    variance between clusters, reduced for their small number (Korn & Graubard 1998). Where all trials agree, nothing is
    known about that variance, and each cluster counts as one trial.

    Args:
        yes: How many trials of each cluster were answered with yes.
        trials: Number of trials of each cluster; clusters without any are left out.
        level: Nominal coverage.
    """
    counts, sizes = _clusters(yes, trials)
    units, total = len(sizes), float(sizes.sum())
    if not units:
        return NOT_MEASURED
    rate = float(counts.sum()) / total
    if units == 1:
        return Interval(rate, math.nan, math.nan, 1)
    tail = (1 - level) / 2
    residuals = counts - rate * sizes
    variance = units / (units - 1) * float(np.square(residuals).sum()) / total**2
    if variance > 0:
        reach = float(ndtri(1 - tail) / stdtrit(units - 1, 1 - tail))
        effective = min(total, rate * (1 - rate) / variance * reach**2)
    else:
        effective = float(units)
    count = rate * effective
    low = 0.0 if rate == 0 else float(betaincinv(count, effective - count + 1, tail))
    high = 1.0 if rate == 1 else float(betaincinv(count + 1, effective - count, 1 - tail))
    return Interval(rate, low, high, units)


def rate_difference(
    first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]], *, level: float = 0.95
) -> Interval:
    """Interval for the difference between two rates that are measured in the same clusters.

    The intervals of the two rates are combined by squares, with the correlation of the clusters' rates (Zou & Donner
    2008; Newcombe 1998). So it keeps what they have of rates near 0 and 1, and a difference that never varies is
    uncertain all the same.

    Args:
        first: How many trials of each cluster were answered with yes, and their number.
        second: The same of the other kind of trials, cluster by cluster; clusters without either are left out.
        level: Nominal coverage.
    """
    both = [(one, other) for one, other in zip(first, second, strict=True) if one[1] and other[1]]
    if not both:
        return NOT_MEASURED
    one, other = (rate_interval(*zip(*kind, strict=True), level=level) for kind in zip(*both, strict=True))
    rates = np.array([[yes / trials for yes, trials in pair] for pair in both])
    varies = bool((rates.std(axis=0) > 0).all())
    correlation = float(np.corrcoef(rates.T)[0, 1]) if varies else 0.0
    difference = one.estimate - other.estimate

    def reach(this: float, that: float) -> float:
        return math.sqrt(max(0.0, this**2 + that**2 - 2 * correlation * this * that))

    low = difference - reach(one.estimate - one.low, other.high - other.estimate)
    high = difference + reach(one.high - one.estimate, other.estimate - other.low)
    return Interval(difference, float(np.maximum(low, -1)), float(np.minimum(high, 1)), len(both))


def d_prime_interval(
    signals: Sequence[tuple[float, float]], noises: Sequence[tuple[float, float]], *, level: float = 0.95
) -> Interval:
    """Interval for the distance d' between two kinds of trials, in standard deviations of what answers are decided by.

    With the log-linear correction (Hautus 1995): half a yes and one trial are added to each kind, so that rates of 0
    and 1 give a finite number, which is pulled toward 0 where there are few trials. The ends of the two rates'
    intervals, corrected in the same way, are combined by squares on the scale of d'.

    Args:
        signals: How many signal trials of each cluster were answered with yes, and their number.
        noises: The same of the noise trials.
        level: Nominal coverage.
    """
    sizes = [sum(trials for _, trials in kind) for kind in (signals, noises)]
    if not all(sizes):
        return NOT_MEASURED
    one, other = (rate_interval(*zip(*kind, strict=True), level=level) for kind in (signals, noises))

    def quantile(rate: float, trials: float) -> float:
        return float(ndtri((rate * trials + 0.5) / (trials + 1)))

    hits, alarms = (
        [quantile(rate, trials) for rate in (found.low, found.estimate, found.high)]
        for found, trials in zip((one, other), sizes, strict=True)
    )
    estimate = hits[1] - alarms[1]
    low = estimate - math.hypot(hits[1] - hits[0], alarms[2] - alarms[1])
    high = estimate + math.hypot(hits[2] - hits[1], alarms[1] - alarms[0])
    return Interval(estimate, low, high, min(one.units, other.units))


def jackknife_interval(statistic: Callable[[NDArray[np.bool_]], float], units: int, *, level: float = 0.95) -> Interval:
    """Interval for a number that is no mean, such as a ratio of counts, over exchangeable units.

    Student's t interval from the delete-one jackknife (Tukey 1958). The estimate is the number itself.

    Args:
        statistic: Computes it from the units that a mask keeps.
        units: Number of units.
        level: Nominal coverage.
    """
    everything = np.ones(units, dtype=bool)
    estimate = statistic(everything) if units else math.nan
    if math.isnan(estimate):
        return NOT_MEASURED
    left_out = []
    for unit in range(units if units > 1 else 0):
        kept = everything.copy()
        kept[unit] = False
        left_out.append(statistic(kept))
    parts = np.array(left_out)
    if units < FEWEST_FOR_BOOTSTRAP or not np.isfinite(parts).all():
        return Interval(estimate, math.nan, math.nan, units)
    error = math.sqrt((units - 1) / units * float(np.square(parts - parts.mean()).sum()))
    reach = float(stdtrit(units - 1, (1 + level) / 2)) * error
    return Interval(estimate, estimate - reach, estimate + reach, units)


def _clusters(yes: Sequence[float], trials: Sequence[float]) -> tuple[Array, Array]:
    counts, sizes = np.asarray(yes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if counts.shape != sizes.shape or bool((counts < 0).any()) or bool((counts > sizes).any()):
        raise ValueError(f"{counts!r} of {sizes!r} trials: expected as many clusters, and no more yes than trials")
    return counts[sizes > 0], sizes[sizes > 0]
