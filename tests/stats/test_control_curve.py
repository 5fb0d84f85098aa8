"""The control line: exact on planted data, invariant where it must be, and differences of excesses."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_answers import ITEMS, answers, ends, noisy, rng

from introbench.stats.balanced_answers import Answer
from introbench.stats.control_curve import (
    excess_by_unit,
    excess_difference,
    fit_control_curve,
    paired_excess_difference,
)
from introbench.stats.intervals import Interval

# Exactness


@pytest.mark.parametrize(("bias", "flattening"), [(1.5, 0.0), (0.0, 0.4), (0.8, 0.3), (-2.0, -0.1), (0.0, 0.0)])
def test_a_push_and_flattening_alone_are_no_excess(bias: float, flattening: float) -> None:
    fit = fit_control_curve(answers(lambda _, side, at: bias - flattening * at), rng=rng())
    for interval, truth in ((fit.excess, 0), (fit.bias, bias), (fit.flattening, flattening)):
        assert ends(interval) == pytest.approx((truth,) * 3, abs=1e-9)
    assert (fit.questions, fit.controls, fit.missing, fit.without_line) == (6, 34, 0, ())
    assert fit.covered == 1
    assert fit.excess.units == 9


def test_each_vector_has_a_line_of_its_own() -> None:
    fit = fit_control_curve(answers(lambda unit, side, at: unit - 0.1 * unit * at), rng=rng())
    assert ends(fit.excess) == pytest.approx((0, 0, 0), abs=1e-9)
    assert fit.bias.estimate == pytest.approx(4)
    assert fit.flattening.estimate == pytest.approx(0.4)
    assert fit.bias.low < 3 < 5 < fit.bias.high


def test_each_kind_has_lines_of_its_own_and_the_same_weight() -> None:
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
    yes = fit_control_curve(answers(lambda _, side, at: 0.7 - 0.3 * at + abs(side)), rng=rng())
    assert yes.excess.estimate == pytest.approx(2 / 6), "four plain questions, two reversed"


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


def test_extrapolation_is_told() -> None:
    extreme = [replace(a, baseline=-9.0) if a.item == "question 0" else a for a in noisy(16)]
    assert fit_control_curve(extreme, rng=rng()).covered == pytest.approx(5 / 6)
    extreme = [replace(a, baseline=6.9) if a.item == "question 5" else a for a in extreme]
    fit = fit_control_curve(extreme, rng=rng())
    assert fit.covered == pytest.approx(4 / 6)
    assert fit.within_reach == pytest.approx(5 / 6), "6.9 is less than a nat beyond the controls"


# Differences of two populations


def test_what_a_question_does_to_both_populations_cancels() -> None:
    draw = rng(22)
    effects = {item: draw.standard_normal() for item, *_ in ITEMS}
    concept = [replace(a, shift=a.shift + a.side + effects[a.item]) for a in noisy(23, spread=0.05)]
    random = [replace(a, shift=a.shift + 0.25 * a.side + effects[a.item]) for a in noisy(24, units=3, spread=0.05)]
    difference = excess_difference(concept, random, rng=rng())
    assert difference.low < 0.75 < difference.high
    assert difference.units == 3
    alone = fit_control_curve(concept, rng=rng()).excess
    assert 4 * (difference.high - difference.low) < alone.high - alone.low
    assert difference.estimate == pytest.approx(alone.estimate - fit_control_curve(random, rng=rng()).excess.estimate)


def test_difference_is_of_the_same_questions() -> None:
    first, second = noisy(25), noisy(26, units=4)
    cut = [a for a in second if a.item not in {"question 1", "control 30"}]
    expected = excess_difference([a for a in first if a.item not in {"question 1", "control 30"}], cut, rng=rng())
    assert excess_difference(first, cut, rng=rng()) == expected
    other = noisy(27, kind="digits")
    assert excess_difference([*first, *other], second, rng=rng()) == excess_difference(first, second, rng=rng())


def test_difference_without_units_or_with_one() -> None:
    complete = noisy(28)
    assert all(math.isnan(end) for end in ends(excess_difference(complete, [], rng=rng())))
    assert all(math.isnan(end) for end in ends(excess_difference([], [], rng=rng())))
    single = excess_difference(complete, noisy(29, units=1), rng=rng())
    assert math.isfinite(single.estimate)
    assert math.isnan(single.low)
    assert single.units == 1


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


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(2, 4), amounts)
def test_differences_turn_around(seed: int, units: int, more: float) -> None:
    """With fewer than five units the interval is symmetric, so that it turns as well."""
    first, second = noisy(seed, 4), noisy(seed + 1, units)
    second = [replace(a, shift=a.shift + more * a.side) for a in second]
    there, back = excess_difference(first, second, rng=rng()), excess_difference(second, first, rng=rng())
    assert np.allclose(ends(there), [-end for end in ends(back)[::-1]])
    assert there.estimate == pytest.approx(excess_difference(first, noisy(seed + 1, units), rng=rng()).estimate - more)


# Differences of two sets of questions


def split(given: Sequence[Answer], others: Sequence[str]) -> tuple[list[Answer], list[Answer], list[Answer]]:
    """Questions with a side that are not among the others, the others, and controls."""
    return (
        [a for a in given if a.side and a.item not in others],
        [a for a in given if a.item in others],
        [a for a in given if not a.side],
    )


def paired(first: Sequence[Answer], second: Sequence[Answer], controls: Sequence[Answer]) -> Interval:
    return paired_excess_difference(first, second, controls, rng=rng())


def test_questions_beyond_others_are_exact_on_planted_data() -> None:
    shifted = answers(lambda unit, side, at: 1 - 0.3 * at + side * (1 + 0.1 * unit))
    introspection, salience, controls = split(shifted, ["question 0", "question 1", "question 4"])
    less = [replace(a, shift=a.shift - 0.75 * a.side) for a in salience]
    assert ends(paired(introspection, salience, controls)) == pytest.approx((0, 0, 0), abs=1e-9)
    assert ends(paired(introspection, less, controls)) == pytest.approx((0.75,) * 3, abs=1e-9)
    assert ends(paired(less, introspection, controls)) == pytest.approx((-0.75,) * 3, abs=1e-9)
    digits = [replace(a, kind="digits", shift=99.0) for a in introspection]  # not asked of the others
    assert paired([*introspection, *digits], less, controls).estimate == pytest.approx(0.75)


def test_nothing_is_beyond_what_was_not_asked() -> None:
    introspection, salience, controls = split(noisy(0), ["question 0", "question 1"])
    for missing in ((introspection, [], controls), ([], salience, controls), (introspection, salience, [])):
        assert math.isnan(paired(*missing).estimate)
    one = paired(introspection, salience[::2], controls)  # every second answer: one of the two questions
    assert math.isfinite(one.estimate)
    assert math.isnan(one.low)


def test_a_unit_without_answers_on_one_side_is_left_out_of_both() -> None:
    def without(given: Sequence[Answer]) -> list[Answer]:
        return [a for a in given if a.unit != "unit 4"]

    introspection, salience, controls = split(noisy(31), ["question 0", "question 1", "question 4"])
    lost = [replace(a, shift=math.nan) if a.unit == "unit 4" else a for a in introspection]
    fewer = [
        paired(without(introspection), without(salience), without(controls)),
        paired(introspection, without(salience), controls),
        paired(lost, salience, controls),
    ]
    assert fewer[0] == fewer[1] == fewer[2]
    assert fewer[0].units == 8


def test_sides_are_paired_by_unit_and_share_what_a_control_question_does() -> None:
    """What is common to both sides cancels: how much a unit is moved, and where its line lies."""
    draw = rng(32)
    bent = {item: 2 * draw.standard_normal() for item, side, _ in ITEMS if not side}
    shifted = answers(lambda unit, side, at: side * unit)
    shifted = [replace(a, shift=a.shift + bent.get(a.item, 0.0)) for a in shifted]
    alike = [replace(a, item=f"other {a.item}", shift=a.shift - 0.5 * a.side) for a in shifted if a.side]
    introspection, _, controls = split(shifted, [])
    difference, alone = paired(introspection, alike, controls), fit_control_curve(shifted, rng=rng()).excess
    assert difference.estimate == pytest.approx(0.5)
    width = difference.high - difference.low
    assert 4 * width < alone.high - alone.low, "what is left are the questions of both sides"
