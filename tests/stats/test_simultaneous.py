"""Intervals that hold together: by hand."""

import math

import pytest
from scipy import stats

from introbench.stats.intervals import NOT_MEASURED, Interval, VariancePart
from introbench.stats.simultaneous import excludes_zero, hold_together, simultaneous_level

ALONE = Interval(1.0, 0.5, 2.0, 9)


def ratio(count: int, freedom: int) -> float:
    return float(stats.t.ppf(1 - 0.02 / count, freedom) / stats.t.ppf(0.975, freedom))


def test_what_has_no_ends_is_not_counted() -> None:
    assert hold_together([]) == []
    (one, nothing) = hold_together([ALONE, NOT_MEASURED])
    assert (one.low, one.estimate) == pytest.approx((1 - 0.5 * ratio(1, 8), 1.0))
    assert math.isnan(nothing.low)


def test_both_ends_move_by_the_ratio_of_quantiles() -> None:
    assert simultaneous_level([ALONE] * 10) == pytest.approx(0.996)
    wide = hold_together([ALONE] * 10)[3]
    assert (wide.low, wide.high) == pytest.approx((1 - 0.5 * ratio(10, 8), 1 + 1.0 * ratio(10, 8)))


@pytest.mark.parametrize(("source", "count", "freedom"), [("questions 1", 6, 4), ("kinds", 4, 3), ("cells 1", 3, 8)])
def test_what_there_is_least_of_gives_the_degrees_of_freedom(source: str, count: int, freedom: int) -> None:
    parts = (VariancePart("units", 0.1, 9), VariancePart(source, 0.1, count))
    wide = hold_together([Interval(1.0, 0.5, 2.0, 9, parts)] * 10)[0]
    assert wide.high == pytest.approx(1 + ratio(10, freedom))


def test_which_intervals_exclude_0() -> None:
    assert excludes_zero(ALONE)
    assert excludes_zero(Interval(-1.0, -2.0, -0.5, 9))
    assert not excludes_zero(Interval(0.0, 0.0, 0.0, 9))
    assert not excludes_zero(NOT_MEASURED)
