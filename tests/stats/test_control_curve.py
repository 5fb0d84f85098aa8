"""The control curve: exact on planted data, invariant where it must be, and excesses compared."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_answers import ITEMS, Shift, answers, ends, noisy, rng

from introbench.stats import kind_effects
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_curve import (
    FEWEST_NEAR,
    excess_by_unit,
    fit_control_curve,
    mean_curves,
)
from introbench.stats.intervals import Interval
from introbench.stats.robust_curve import line_basis
from introbench.validation.simulated_models import pulled_shift

# Exactness


@pytest.mark.parametrize(("bias", "flattening"), [(1.5, 0.0), (0.0, 0.4), (0.8, 0.3), (-2.0, -0.1), (0.0, 0.0)])
def test_a_push_and_flattening_alone_are_no_excess(bias: float, flattening: float) -> None:
    fit = fit_control_curve(answers(lambda _, side, at: bias - flattening * at), rng=rng())
    for interval, truth in ((fit.excess, 0), (fit.bias, bias), (fit.flattening, flattening)):
        assert ends(interval) == pytest.approx((truth,) * 3, abs=1e-9)
    assert (fit.questions, fit.controls, fit.missing, fit.without_curve) == (6, 34, 0, ())
    assert fit.sides == (4, 2)
    assert fit.near == 1
    assert fit.excess.units == 9


def test_each_vector_has_a_curve_of_its_own() -> None:
    fit = fit_control_curve(answers(lambda unit, side, at: unit - 0.1 * unit * at), rng=rng())
    assert ends(fit.excess) == pytest.approx((0, 0, 0), abs=1e-9)
    assert fit.bias.estimate == pytest.approx(4)
    assert fit.flattening.estimate == pytest.approx(0.4)
    assert fit.bias.low < 3 < 5 < fit.bias.high


def test_each_kind_has_curves_of_its_own_and_the_same_weight() -> None:
    first = answers(lambda _, side, at: 1 - 0.5 * at + side, kind="words")
    second = [a for a in answers(lambda _, side, at: -2 + 0.1 * at + 3 * side, kind="digits") if a.item != "question 0"]
    fit = fit_control_curve([*first, *second], rng=rng())
    assert fit.by_kind["words"].estimate == pytest.approx(1)
    assert fit.by_kind["digits"].estimate == pytest.approx(3)
    assert fit.excess.estimate == pytest.approx(2)
    assert fit.bias.estimate == pytest.approx(-0.5)
    assert fit.flattening.estimate == pytest.approx(0.2)
    assert fit.missing == 0, "a question may be asked in one kind only"


def test_noticing_is_recovered_with_the_sign_of_each_question() -> None:
    noticed = fit_control_curve(answers(lambda _, side, at: 0.7 - 0.3 * at + side), rng=rng())
    assert ends(noticed.excess) == pytest.approx((1, 1, 1), abs=1e-9)
    assert noticed.flattening.estimate == pytest.approx(0.3)


def test_a_push_on_introspection_questions_alone_cancels_with_unequal_numbers_of_each_side() -> None:
    """Four plain and two reversed questions count half each, and neither side's distance widens the interval."""
    for push in (1.0, -2.5):
        pushed = answers(lambda _, side, at, push=push: 0.7 - 0.3 * at + push * abs(side) + 0.4 * side)
        assert ends(fit_control_curve(pushed, rng=rng()).excess) == pytest.approx((0.4,) * 3, abs=1e-9)
    plain_only = fit_control_curve(answers(lambda _, side, at: float(side > 0)), rng=rng())
    assert plain_only.excess.estimate == pytest.approx(0.5), "and not 4 / 6"
    one_side = [a for a in answers(lambda _, side, at: float(side > 0)) if a.side >= 0]
    fit = fit_control_curve(one_side, rng=rng())
    assert (fit.sides, fit.excess.estimate) == ((4, 0), pytest.approx(1.0))


def test_questions_deviate_from_their_own_side() -> None:
    """The interval of four plain and two reversed questions by hand, where nothing else varies."""
    more = {"question 0": 0.3, "question 1": -0.1, "question 2": -0.4, "question 4": 0.5}
    varied = [replace(a, shift=a.side * (1 + more.get(a.item, 0.0))) for a in answers(lambda *_: 0.0)]
    excess = fit_control_curve(varied, rng=rng()).excess
    plain, reversed_ = np.array([0.3, -0.1, -0.4, 0.0]), np.array([0.5, 0.0])
    variance = sum(side.var(ddof=1) / len(side) / 4 for side in (plain, reversed_))
    half = stats.t.ppf(0.975, 6 - 2) * math.sqrt(variance)
    estimate = 1 + (plain.mean() + reversed_.mean()) / 2
    assert ends(excess) == pytest.approx((estimate - half, estimate, estimate + half))


# Disturbances that are no line


DISTURBANCES = {
    "S-shape": lambda at: -0.9 * math.tanh(at / 1.5),
    "pull": lambda at: float(pulled_shift(np.array(at), 0.1)),
}


@pytest.mark.parametrize(("name", "line_leaves", "curve_leaves"), [("S-shape", 0.253, 0.018), ("pull", -0.405, -0.021)])
def test_a_curve_takes_what_a_line_leaves(
    name: str, line_leaves: float, curve_leaves: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = answers(lambda _, side, at: DISTURBANCES[name](at))
    assert fit_control_curve(disturbed, rng=rng()).excess.estimate == pytest.approx(curve_leaves, abs=0.001)
    monkeypatch.setattr(kind_effects, "curve_basis", line_basis)
    assert fit_control_curve(disturbed, rng=rng()).excess.estimate == pytest.approx(line_leaves, abs=0.001)


@pytest.mark.parametrize("count", [3, 11, 12])
def test_lines_are_exact_with_few_control_questions_and_curves_from_twelve_on(count: int) -> None:
    kept = [ITEMS[n][0] for n in np.linspace(0, 33, count).round().astype(int)]

    def excess(shift: Shift) -> float:
        few = [a for a in answers(shift) if a.side or a.item in kept]
        return fit_control_curve(few, rng=rng()).excess.estimate

    assert excess(lambda _, side, at: 1 - 0.4 * at + side) == pytest.approx(1, abs=1e-9)
    bent = abs(excess(lambda _, side, at: DISTURBANCES["S-shape"](at)))
    assert (bent < 0.1) == (count == 12)


def test_randomness_is_the_callers_and_does_not_touch_estimates() -> None:
    differing = answers(lambda unit, side, at: side * math.sqrt(unit) + math.sin(unit * at))
    first, again, other = (fit_control_curve(differing, rng=rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.excess != other.excess
    assert first.excess.estimate == other.excess.estimate


def test_excess_of_each_unit() -> None:
    shifts = answers(lambda unit, side, at: 1 - 0.2 * unit * at + unit * side, units=3)
    lost = [replace(a, shift=math.nan) if a.unit == "unit 2" and a.side else a for a in shifts]
    assert excess_by_unit(shifts) == pytest.approx({"unit 0": 0, "unit 1": 1, "unit 2": 2})
    assert math.isnan(excess_by_unit(lost)["unit 2"])


def test_near_counts_the_questions_with_control_questions_around() -> None:
    """Of a range of control questions only those count that are within a nat, and three have to be."""
    assert FEWEST_NEAR == 3
    places = {"control 00": -5.0, "control 01": -5.0, "control 02": -5.0, "control 03": 5.0, "control 04": 5.0}
    placed = [replace(a, baseline=places.get(a.item, a.baseline)) for a in noisy(16) if a.side or a.item in places]

    def near(**baselines: float) -> float:
        moved = [
            replace(a, baseline=baselines.get(a.item.replace(" ", "_"), -5.0 if a.side else a.baseline)) for a in placed
        ]
        return fit_control_curve(moved, rng=rng()).near

    assert near() == 1
    assert near(question_0=-4.01) == 1
    assert near(question_0=-3.99, question_4=-6.01) == pytest.approx(4 / 6)
    assert near(question_0=0.0) == pytest.approx(5 / 6), "between control questions, and near none"
    assert near(question_0=5.0) == pytest.approx(5 / 6), "near two, which are too few"


def test_near_is_over_the_questions_of_all_kinds() -> None:
    far = [replace(a, kind="digits", baseline=a.baseline + (20.0 if a.side else 0.0)) for a in noisy(16)]
    assert fit_control_curve([*noisy(16), *far], rng=rng()).near == pytest.approx(0.5)


# Invariances

seeds = st.integers(0, 10_000)
amounts = st.floats(-5, 5)


def close(result: Interval, expected: Interval, move: float = 0.0) -> bool:
    return np.allclose(ends(result), np.array(ends(expected)) + move, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 6), st.floats(0.01, 2), amounts, amounts)
def test_a_line_added_to_every_shift_changes_bias_and_flattening_alone(
    seed: int, units: int, spread: float, up: float, flat: float
) -> None:
    plain = noisy(seed, units, spread)
    added = [replace(a, shift=a.shift + up - flat * a.baseline) for a in plain]
    expected, fit = (fit_control_curve(a, rng=rng(), resamples=200) for a in (plain, added))
    assert close(fit.excess, expected.excess)
    assert close(fit.bias, expected.bias, up)
    assert close(fit.flattening, expected.flattening, flat)


@settings(deadline=None, max_examples=25)
@given(seeds, amounts, st.floats(0.01, 100))
def test_noticing_more_and_other_units_of_measurement(seed: int, more: float, factor: float) -> None:
    plain = noisy(seed)
    expected = fit_control_curve(plain, rng=rng(), resamples=200)
    fit = fit_control_curve([replace(a, shift=a.shift + more * a.side) for a in plain], rng=rng(), resamples=200)
    assert close(fit.excess, expected.excess, more)
    assert close(fit.bias, expected.bias)
    scaled = fit_control_curve([replace(a, shift=a.shift * factor) for a in plain], rng=rng(), resamples=200)
    assert np.allclose(np.array(ends(scaled.excess)) / factor, ends(expected.excess), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_asking_everything_the_other_way_round_changes_the_sign_of_the_bias_alone(seed: int) -> None:
    plain = noisy(seed)
    turned = [replace(a, side=-a.side, baseline=-a.baseline, shift=-a.shift) for a in plain]
    expected, fit = (fit_control_curve(a, rng=rng(), resamples=200) for a in (plain, turned))
    assert close(fit.excess, expected.excess)
    assert close(fit.flattening, expected.flattening)
    assert fit.bias.estimate == pytest.approx(-expected.bias.estimate, abs=1e-6)


def test_the_mean_curve_of_points_on_a_line_is_that_line() -> None:
    baselines = np.linspace(-2, 2, 15)
    answers = [
        Answer(unit, f"q{n}", "words", "yes-no", 1.0 if n == 14 else 0.0, float(x), slope * float(x) + 0.25)
        for unit, slope in (("a", -0.5), ("b", -0.25))
        for n, x in enumerate(baselines)
    ]
    (curve,) = mean_curves(answers, points=5).values()
    assert curve.baselines == pytest.approx([-2, -1, 0, 1, 2])
    assert curve.shifts == pytest.approx(-0.375 * curve.baselines + 0.25)
