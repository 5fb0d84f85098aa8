"""Intervals over units and questions: by hand where one of them prevails, and coverage by simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated_answers import ITEMS, SPREADS, Effect, Worlds, answers, covers, ends, noisy, rng

from introbench.stats import two_way_interval as two_way_interval_module
from introbench.stats.control_curve import (
    HALF_LEVEL,
    FamilyAnswers,
    compare_excesses,
    compare_families,
    fit_control_curve,
)
from introbench.stats.intervals import Interval
from introbench.stats.two_way_interval import (
    FEWEST_KINDS,
    QuestionEffects,
    UnitEstimates,
    interval_over_kinds,
    mean_over_kinds,
    paired_combination,
    two_way_interval,
)


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


def variances_of(interval: Interval) -> dict[str, float]:
    """The parts of an interval's variance, by what they are due to."""
    return {part.source: part.variance for part in interval.parts}


def test_parts_of_the_variance_are_due_to_units_questions_and_cells() -> None:
    draw = rng()
    of_items = dict(zip((item for item, _, _ in ITEMS), draw.standard_normal(len(ITEMS)), strict=True))
    by_questions = [replace(a, shift=of_items[a.item]) for a in answers(lambda unit, side, at: 0.0)]
    by_units = answers(lambda unit, side, at: float(unit) * side)
    questions, units = (fit_control_curve(given, rng=rng()).excess for given in (by_questions, by_units))
    assert [(part.source, part.count) for part in questions.parts] == [
        ("units", 9),
        ("questions 0", 34),
        ("cells 0", 34),
        ("questions 1", 6),
        ("cells 1", 6),
    ]
    only_units, only_questions = variances_of(units), variances_of(questions)
    assert only_units.pop("units") == pytest.approx(np.arange(9.0).var(ddof=1) / 9)
    assert max(np.abs(list(only_units.values()))) < 1e-12
    sides = (
        np.array([of_items[item] for item, side, _ in ITEMS if side > 0]),
        -np.array([of_items[item] for item, side, _ in ITEMS if side < 0]),
    )
    curves = fit_control_curve([a if a.side == 0 else replace(a, shift=0.0) for a in by_questions], rng=rng()).excess
    assert only_questions["questions 0"] == pytest.approx(variances_of(curves)["questions 0"])
    beyond = [of - of.mean() for of in sides]
    assert only_questions["questions 1"] == pytest.approx(
        sum(np.square(of).sum() / (len(of) * (len(of) - 1)) / 4 for of in beyond), rel=0.5
    ), "but for where the curves lie"
    assert max(abs(only_questions[name]) for name in ("units", "cells 0", "cells 1")) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_the_variance_add_up(seed: int) -> None:
    """Two-way clustering by hand: units and questions minus cells, for both families."""
    estimates = random_estimates(rng(seed))
    of = variances_of(interval(rng(), estimates))
    units = estimates.values.var(ddof=1) / 9
    questions = sum(np.square(family.deviations.mean(axis=0)).sum() for family in estimates.families)
    cells = sum(family.deviations.var(axis=0, ddof=1).sum() / 9 for family in estimates.families)
    assert sum(of.values()) == pytest.approx(units + questions - cells)
    assert of["units"] + of["cells 0"] + of["cells 1"] == pytest.approx(units)
    other = random_estimates(rng(seed + 10))
    both = interval(rng(), estimates, negative(other))
    assert [part.source for part in both.parts].count("units") == 2
    shared = [
        one.deviations.mean(0) - two.deviations.mean(0)
        for one, two in zip(estimates.families, other.families, strict=True)
    ]
    total = sum(e.values.var(ddof=1) / 9 for e in (estimates, other)) + sum(np.square(s).sum() for s in shared)
    total -= sum(family.deviations.var(axis=0, ddof=1).sum() / 9 for e in (estimates, other) for family in e.families)
    assert sum(part.variance for part in both.parts) == pytest.approx(total)


def random_estimates(draw: np.random.Generator) -> UnitEstimates:
    families = ((30, 0.1, 34), (5, 0.2, 6))
    return UnitEstimates(
        draw.standard_normal(9),
        tuple(QuestionEffects(freedom, spread * draw.standard_normal((9, size))) for freedom, spread, size in families),
    )


def test_units_that_are_alike_leave_the_variance_of_questions() -> None:
    """Held against a jackknife by hand, through the public function."""
    draw = rng(20)
    effects = {item: 0.5 * draw.standard_normal() for item, *_ in ITEMS}
    alike = [replace(a, shift=effects[a.item]) for a in noisy(0)]
    excess = fit_control_curve(alike, rng=rng()).excess

    def jackknife(names: list[str]) -> float:
        without = [fit_control_curve([a for a in alike if a.item != name], rng=rng()).excess.estimate for name in names]
        return float((len(names) - 1) * np.var(without))

    of_controls = jackknife([item for item, side, _ in ITEMS if side == 0])
    of_questions = sum(jackknife([item for item, of, _ in ITEMS if of == side]) for side in (1, -1))
    # A curve takes four degrees of freedom, and plain and reversed questions one each.
    reach = math.sqrt(sum(stats.t.ppf(0.975, f) ** 2 * v for f, v in ((34 - 4, of_controls), (6 - 2, of_questions))))
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


# Kinds of answers


def of_kinds(draw: np.random.Generator, kinds: int, by_kind: float, units: int = 9) -> list[UnitEstimates]:
    """Estimates in some kinds of answers, which have an effect (sd) of their own, and units, questions and cells too.

    Units and introspection questions have effects in common and others in each kind; those of control questions, whose
    own numbers average to 0, are theirs.
    """
    questions = 12
    common = 0.3 * draw.standard_normal((units, 1)) + 0.3 * draw.standard_normal((1, questions))
    estimates = []
    for _ in range(kinds):
        cells = common + by_kind * draw.standard_normal()
        cells = cells + 0.2 * draw.standard_normal((units, 1)) + 0.2 * draw.standard_normal((1, questions))
        cells = cells + 0.3 * draw.standard_normal((units, questions))
        deviations = (cells - cells.mean(axis=1, keepdims=True)) / math.sqrt(questions * (questions - 1))
        estimates.append(UnitEstimates(cells.mean(axis=1), (QuestionEffects(questions - 1, deviations),)))
    return estimates


@pytest.mark.parametrize("runs", [500, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("by_kind", [0.6, 0.0])
def test_interval_over_four_kinds_covers_the_truth(by_kind: float, runs: int) -> None:
    """Kinds that differ by a standard deviation of 0.6: without an allowance the interval covers two thirds."""
    draw = rng(44)
    held, without = [], []
    for _ in range(runs):
        estimates = of_kinds(draw, 4, by_kind)
        found = interval_over_kinds([[kind] for kind in estimates], 0.95, 100, draw)
        held.append(covers(found, 0.0))
        of_mean = two_way_interval([mean_over_kinds(estimates)], 0.95, 100, draw)
        without.append(covers(of_mean, 0.0))
    assert 0.92 <= np.mean(held) <= (0.98 if by_kind else 0.995)
    assert (np.mean(without) < 0.75) == (by_kind > 0)


def test_two_kinds_are_taken_as_they_are() -> None:
    assert FEWEST_KINDS == 3
    estimates = of_kinds(rng(45), 3, 5.0)
    two, three = (
        interval_over_kinds([[kind] for kind in kinds], 0.95, 300, rng()) for kinds in (estimates[:2], estimates)
    )
    alone = two_way_interval([mean_over_kinds(estimates[:2])], 0.95, 300, rng())
    assert two == alone
    assert "kinds" not in variances_of(two)
    (part,) = [part for part in three.parts if part.source == "kinds"]
    means = [kind.values.mean() for kind in estimates]
    assert part.count == 3
    assert part.variance == pytest.approx(np.var(means, ddof=1) / 3, rel=0.1)
    assert three.high - three.estimate == pytest.approx(stats.t.ppf(0.975, 2) * part.variance**0.5, rel=0.1)


def test_kinds_that_are_alike_add_nothing() -> None:
    (estimates,) = of_kinds(rng(46), 1, 0.0)
    found = interval_over_kinds([[estimates]] * 4, 0.95, 300, rng())
    assert variances_of(found)["kinds"] == 0
    assert ends(found) == pytest.approx(ends(two_way_interval([estimates], 0.95, 300, rng())))


@pytest.mark.parametrize("signs", [(1.0,), (1.0, -1.0)])
def test_what_kinds_vary_by_is_known_without_bias(signs: tuple[float, ...]) -> None:
    """Units, questions and cells make kinds differ as well; what is left is the kinds' own variance."""
    draw = rng(47)
    found = [
        two_way_interval_module._variance_of_kinds(
            list(zip(*([times(kind, sign) for kind in of_kinds(draw, 4, 0.3)] for sign in signs), strict=True))
        )
        for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(len(signs) * 0.3**2 / 4, rel=0.08)


# Coverage: few runs here and many with the slow tests, all on the same worlds.

RUNS = [250, pytest.param(1000, marks=pytest.mark.slow)]
MANY = [pytest.param(spread, 1000, marks=pytest.mark.slow) for spread in SPREADS]
POPULATIONS = [(9, "questions"), (3, "units")]
"""How many random vectors stand beside nine concepts, and what varies."""

EFFECTS = [(1.0, 0.0, 0.0), (0.0, 0.4, 0.0), (1.0, 0.4, 0.0), (0.5, 0.2, 1.0)]
"""Bias, flattening, noticed."""


def interval(draw: np.random.Generator, *samples: UnitEstimates, level: float = 0.95) -> Interval:
    return two_way_interval(samples, level, 300, draw)


def times(estimates: UnitEstimates, weight: float) -> UnitEstimates:
    return estimates.part(np.ones(len(estimates.values), dtype=bool), weight)


def negative(estimates: UnitEstimates) -> UnitEstimates:
    return times(estimates, -1.0)


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
        comparison = compare_excesses(written, other, rng=rng(2), resamples=300)
        source = rng(2)
        for found, one, two, level in (
            (comparison.difference, 1.0, -1.0, 0.95),
            (comparison.beyond_half, -0.5, 1.0, HALF_LEVEL),
        ):
            expected = interval(source, times(effects[run].excess, one), times(others[run].excess, two), level=level)
            assert ends(found) == pytest.approx(ends(expected), abs=1e-6)
        salient = [a for a in worlds.answers(first, run) if a.item >= "40"]
        asked, controls = [a for a in written if a.side], [a for a in written if not a.side]
        paired = compare_families([FamilyAnswers(asked, salient, controls)], rng=rng(3), resamples=300)
        source = rng(3)
        for found, one, two, level in (
            (paired.difference, 1.0, -1.0, 0.95),
            (paired.beyond_half, -0.5, 1.0, HALF_LEVEL),
        ):
            combination = paired_combination(effects[run].excess, one, salience[run].excess, two)
            assert ends(found) == pytest.approx(ends(interval(source, combination, level=level)), abs=1e-6)


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


@pytest.mark.parametrize(
    ("second_units", "spread", "runs"),
    [(9, "questions", 250), *(pytest.param(*given, 1000, marks=pytest.mark.slow) for given in POPULATIONS)],
)
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


@pytest.mark.parametrize(("spread", "runs"), [("questions", 250), *MANY])
def test_interval_of_a_paired_difference_covers_the_truth(spread: str, runs: int) -> None:
    """Units that are noticed more are noticed more in both kinds of questions: they are paired."""
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(48)
    worlds = Worlds(draw, runs, of_questions, salient=8)
    shifts = worlds.shifts(of_units * draw.standard_normal((runs, 9)), noise, Effect(0.5, 0.3, 0.4))
    more = 0.7 + of_units / 2 * draw.standard_normal((runs, 9, 1))
    shifts[..., 34:40] += worlds.sides[34:40] * more
    held = [
        [
            covers(interval(draw, paired_combination(introspection.excess, 1.0, salience.excess, -1.0)), 0.7),
            covers(interval(draw, salience.excess), 0.4),
        ]
        for introspection, salience in zip(worlds.effects(shifts), worlds.effects(shifts, slice(40, 48)), strict=True)
    ]
    coverage = np.mean(held, axis=0)
    assert 0.92 <= coverage.min() <= coverage.max() <= 0.98, coverage
