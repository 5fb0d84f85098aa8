"""Intervals over units and questions: by hand where one of them prevails, and coverage by simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated_answers import ITEMS, SPREADS, Effect, Worlds, answers, covers, ends, noisy, rng

from introbench.stats.control_curve import excess_difference, fit_control_curve, paired_excess_difference
from introbench.stats.intervals import Interval
from introbench.stats.two_way_interval import UnitEstimates, paired_difference, two_way_interval


def test_too_few_units_or_questions_give_no_interval_rather_than_a_false_one() -> None:
    one = fit_control_curve(noisy(17, units=1), rng=rng())
    assert math.isfinite(one.excess.estimate)
    assert all(math.isnan(end) for i in (one.excess, one.bias, one.flattening) for end in (i.low, i.high))
    assert one.excess.units == 1
    single = fit_control_curve([a for a in noisy(18) if a.side == 0 or a.item == "question 0"], rng=rng())
    assert math.isfinite(single.excess.estimate)
    assert math.isnan(single.excess.low)
    assert math.isfinite(single.bias.low), "for which introspection questions do not matter"
    beside = [a for a in noisy(18, kind="digits") if a.side == 0 or a.item == "question 0"]
    both = fit_control_curve([*noisy(18), *beside], rng=rng())
    assert math.isfinite(both.by_kind["words"].low)
    assert math.isnan(both.by_kind["digits"].low)
    assert math.isnan(both.excess.low), "nothing is known about other questions of that kind"
    two = fit_control_curve(noisy(19, units=2), rng=rng()).excess
    assert two.low < two.estimate < two.high


def test_the_floor_is_what_units_do_not_narrow() -> None:
    draw = rng()
    of_questions = dict(zip((item for item, _, _ in ITEMS), draw.standard_normal(len(ITEMS)), strict=True))
    alike = [
        replace(a, shift=a.shift + of_questions[a.item] + 0.05 * draw.standard_normal())
        for a in answers(lambda unit, side, at: 0.0, units=9)
    ]
    excess = fit_control_curve(alike, rng=rng()).excess
    assert 0.9 < excess.floor / ((excess.high - excess.low) / 2) <= 1
    assert fit_control_curve(noisy(0), rng=rng()).excess.floor < 0.2
    differing = answers(lambda unit, side, at: float(unit) * side)
    assert fit_control_curve(differing, rng=rng()).excess.floor == pytest.approx(0)


def test_units_that_are_alike_leave_the_variance_of_questions() -> None:
    """Held against a jackknife by hand, through the public function."""
    draw = rng(20)
    effects = {item: 0.5 * draw.standard_normal() for item, *_ in ITEMS}
    alike = [replace(a, shift=effects[a.item]) for a in noisy(0)]
    excess = fit_control_curve(alike, rng=rng()).excess
    variance = {}
    for family in ("control", "question"):
        names = [item for item, *_ in ITEMS if item.startswith(family)]
        without = [fit_control_curve([a for a in alike if a.item != name], rng=rng()).excess.estimate for name in names]
        variance[family] = (len(names) - 1) * np.var(without)
    reach = math.sqrt(sum(stats.t.ppf(0.975, f) ** 2 * variance[n] for n, f in (("control", 32), ("question", 5))))
    assert excess.high - excess.estimate == pytest.approx(reach, rel=0.03)
    assert excess.estimate - excess.low == pytest.approx(reach, rel=0.03)


def test_units_that_differ_leave_an_interval_over_units() -> None:
    """Questions agree within each unit, so that only units vary."""
    values = rng(21).exponential(size=9)
    excess = fit_control_curve(answers(lambda unit, side, at: side * values[unit]), rng=rng()).excess
    half = stats.t.ppf(0.975, 8) * values.std(ddof=1) / 3
    assert excess.estimate == pytest.approx(values.mean())
    assert excess.high - excess.estimate > excess.estimate - excess.low, "the interval is skewed as the units are"
    assert 0.7 * half < excess.estimate - excess.low < excess.high - excess.estimate < 3 * half


# Coverage: few runs here and many with the slow tests, all on the same worlds.

RUNS = [250, pytest.param(1000, marks=pytest.mark.slow)]
EFFECTS = [(1.0, 0.0, 0.0), (0.0, 0.4, 0.0), (1.0, 0.4, 0.0), (0.5, 0.2, 1.0)]
"""Bias, flattening, noticed."""


def interval(draw: np.random.Generator, *samples: UnitEstimates) -> Interval:
    return two_way_interval(samples, 0.95, 300, draw)


def negative(estimates: UnitEstimates) -> UnitEstimates:
    return estimates.part(np.ones(len(estimates.values), dtype=bool), -1.0)


def test_intervals_of_simulated_worlds_are_those_of_the_whole_path() -> None:
    """Runs that are fitted together, and each by itself from its answers."""
    draw = rng(39)
    worlds = Worlds(draw, 3, 0.4, salient=8)
    first, second = (
        worlds.shifts(draw.standard_normal((3, count)), 0.3, Effect(0.5, 0.2, 0.7), own=0.2) for count in (9, 4)
    )
    effects, others = worlds.effects(first), worlds.effects(second)
    salience = worlds.effects(first, slice(40, 48))
    for run in range(3):
        written, other = ([a for a in worlds.answers(s, run) if a.item < "40"] for s in (first, second))
        fit = fit_control_curve(written, rng=rng(1), resamples=300)
        source = rng(1)
        for name in ("excess", "bias", "flattening"):
            assert ends(getattr(fit, name)) == pytest.approx(
                ends(interval(source, getattr(effects[run], name))), abs=1e-6
            )
        difference = excess_difference(written, other, rng=rng(2), resamples=300)
        assert ends(difference) == pytest.approx(
            ends(interval(rng(2), effects[run].excess, negative(others[run].excess))), abs=1e-6
        )
        salient = [a for a in worlds.answers(first, run) if a.item >= "40"]
        asked, controls = [a for a in written if a.side], [a for a in written if not a.side]
        paired = paired_excess_difference(asked, salient, controls, rng=rng(3), resamples=300)
        expected = interval(rng(3), paired_difference(effects[run].excess, salience[run].excess))
        assert ends(paired) == pytest.approx(ends(expected), abs=1e-6)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("spread", SPREADS)
def test_intervals_cover_the_truth(spread: str, runs: int) -> None:
    """Effects take turns: they add lines and a constant, with which an interval moves exactly (test_control_curve)."""
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(40)
    worlds, truth = Worlds(draw, runs, of_questions), np.resize(EFFECTS, (runs, 3))
    shifts = worlds.shifts(of_units * draw.standard_normal((runs, 9)), noise, Effect(*truth.T))
    held = [
        [
            covers(interval(draw, effects.excess), noticed),
            covers(interval(draw, effects.bias), bias),
            covers(interval(draw, effects.flattening), flattening),
        ]
        for effects, (bias, flattening, noticed) in zip(worlds.effects(shifts), truth, strict=True)
    ]
    coverage = np.mean(held, axis=0)
    assert 0.92 <= coverage.min() <= coverage.max() <= 0.98, coverage


@pytest.mark.parametrize("runs", RUNS)
def test_interval_of_skewed_units_covers_the_truth(runs: int) -> None:
    """A few vectors that are noticed more than the others; a symmetric interval covers 90-92%."""
    draw = rng(41)
    worlds = Worlds(draw, runs, 0.2)
    shifts = worlds.shifts(draw.exponential(size=(runs, 9)), 0.3, Effect(0.5, 0.2, 0.0))
    held = [covers(interval(draw, effects.excess), 1.0) for effects in worlds.effects(shifts)]
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize(("second_units", "spread"), [(9, "questions"), (3, "units")])
def test_interval_of_two_populations_covers_the_truth(second_units: int, spread: str, runs: int) -> None:
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(42)
    worlds = Worlds(draw, runs, of_questions)
    concept, random = (of_units * draw.standard_normal((runs, size)) for size in (9, second_units))
    first = worlds.effects(worlds.shifts(concept, noise, Effect(1.0, 0.4, 1.0), own=of_questions / 3))
    second = worlds.effects(worlds.shifts(random, noise, Effect(0.5, 0.1, 0.3), own=of_questions / 3))
    held = [
        covers(interval(draw, one.excess, negative(other.excess)), 0.7)
        for one, other in zip(first, second, strict=True)
    ]
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("spread", SPREADS)
def test_interval_of_a_paired_difference_covers_the_truth(spread: str, runs: int) -> None:
    """Units that are noticed more are noticed more in both kinds of questions: they are paired."""
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(43)
    worlds = Worlds(draw, runs, of_questions, salient=8)
    shifts = worlds.shifts(of_units * draw.standard_normal((runs, 9)), noise, Effect(0.5, 0.3, 0.4))
    more = 0.7 + of_units / 2 * draw.standard_normal((runs, 9, 1))
    shifts[..., 34:40] += worlds.sides[34:40] * more
    held = [
        [
            covers(interval(draw, paired_difference(introspection.excess, salience.excess)), 0.7),
            covers(interval(draw, salience.excess), 0.4),
        ]
        for introspection, salience in zip(worlds.effects(shifts), worlds.effects(shifts, slice(40, 48)), strict=True)
    ]
    coverage = np.mean(held, axis=0)
    assert 0.92 <= coverage.min() <= coverage.max() <= 0.98, coverage
