"""Intervals: coverage by simulation, determinism, and what happens at the edges."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from introbench.stats.intervals import (
    FEWEST_FOR_BOOTSTRAP,
    difference_interval,
    mean_interval,
    simultaneous_intervals,
)

Sampler = Callable[[np.random.Generator, int], np.ndarray]
POPULATIONS: dict[str, Sampler] = {
    "normal": lambda g, n: g.standard_normal(n),
    "skewed": lambda g, n: g.exponential(size=n) - 1,
    "heavy-tailed": lambda g, n: g.standard_t(4, n),
}


@pytest.mark.parametrize("population", POPULATIONS)
def test_interval_of_nine_concepts_covers_the_truth(population: str) -> None:
    data_sets = np.random.default_rng(20)
    covered = 0
    for number in range(500):
        values = POPULATIONS[population](data_sets, 9) + 0.3
        interval = mean_interval(values, rng=np.random.default_rng(number), resamples=2000)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.92 <= covered / 500 <= 0.98


def test_interval_of_two_populations_covers_the_truth() -> None:
    data_sets = np.random.default_rng(21)
    covered = 0
    for number in range(500):
        concepts, random = data_sets.standard_normal(9) + 1, 2 * data_sets.standard_normal(9)
        interval = difference_interval(concepts, random, rng=np.random.default_rng(number), resamples=2000)
        covered += interval.low <= 1 <= interval.high
    assert 0.92 <= covered / 500 <= 0.98


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=12), st.floats(-5, 5))
def test_interval_contains_its_estimate_and_moves_with_the_data(values: list[float], offset: float) -> None:
    assume(len(values) >= FEWEST_FOR_BOOTSTRAP or np.ptp(values) > 1e-6)
    interval = mean_interval(values, rng=np.random.default_rng(3), resamples=500)
    assert interval.estimate == pytest.approx(np.mean(values))
    assert interval.low <= interval.estimate + 1e-9
    assert interval.high >= interval.estimate - 1e-9
    moved = mean_interval(np.array(values) + offset, rng=np.random.default_rng(3), resamples=500)
    scale = 1e-6 * (1 + max(map(abs, values)))
    assert moved.low - interval.low == pytest.approx(offset, abs=scale + 1e-3 * (interval.high - interval.low))


def test_same_seed_same_interval_other_seed_another() -> None:
    values = [0.3, 1.2, -0.4, 0.8, 0.1, 2.0]
    first, again, other = (mean_interval(values, rng=np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_too_few_units_give_no_interval_rather_than_a_false_one() -> None:
    none = mean_interval([], rng=np.random.default_rng(0))
    assert math.isnan(none.estimate)
    assert none.units == 0
    one = mean_interval([0.7], rng=np.random.default_rng(0))
    assert one.estimate == 0.7
    assert math.isnan(one.low)
    for agree in ([0.75, 0.75], [-1.0] * 4):
        assert math.isnan(mean_interval(agree, rng=np.random.default_rng(0)).low), "coarse numbers agree by chance"
    untouched = mean_interval([0.0, 0.0], rng=np.random.default_rng(0))
    assert untouched.low == untouched.high == 0
    assert math.isnan(one.high)
    two = mean_interval([0.0, 1.0], rng=np.random.default_rng(0))
    assert two.low < 0 < 1 < two.high, "two units say very little"


def test_no_spread_is_an_interval_of_no_width() -> None:
    interval = mean_interval([0.5] * 9, rng=np.random.default_rng(0))
    assert (interval.low, interval.estimate, interval.high) == (0.5, 0.5, 0.5)


def test_missing_numbers_are_refused_not_averaged() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, math.nan], rng=np.random.default_rng(0))


def test_ties_and_near_ties_give_a_wide_interval_but_not_an_absurd_one() -> None:
    """One live concept among eight dead ones."""
    for jitter in (0.0, 1e-9, 1e-5, 1e-3):
        values = np.array([1.0, *(jitter * np.arange(8))])
        interval = mean_interval(values, rng=np.random.default_rng(0))
        assert interval.low < 0 < interval.estimate < interval.high < 1.5


@pytest.mark.parametrize(("units", "shared"), [(9, 0.0), (9, 0.9), (20, 0.5), (3, 0.0)])
def test_simultaneous_intervals_hold_together(units: int, shared: float) -> None:
    draw = np.random.default_rng(3)
    held = []
    for _ in range(300):
        noise = math.sqrt(1 - shared) * draw.standard_normal((units, 15))
        values = np.linspace(-1, 1, 15) + noise + math.sqrt(shared) * draw.standard_normal((units, 1))
        found = simultaneous_intervals(values, resamples=400, rng=draw)
        held.append(all(i.low <= truth <= i.high for i, truth in zip(found, np.linspace(-1, 1, 15), strict=True)))
    assert np.mean(held) >= 0.93
    assert units == 3 or np.mean(held) < 0.998, "no wider than it has to be"


def test_simultaneous_intervals_of_cells_without_spread() -> None:
    values = np.column_stack([np.zeros(9), np.random.default_rng(0).standard_normal(9)])
    still, moving = simultaneous_intervals(values, rng=np.random.default_rng(0))
    assert (still.low, still.high) == (0.0, 0.0)
    assert moving.low < moving.estimate < moving.high
    assert math.isnan(simultaneous_intervals(values[:1], rng=np.random.default_rng(0))[1].low)
