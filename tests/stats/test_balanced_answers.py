"""Balancing: label assignments and repeats are averaged, and all units are left with the same questions."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from simulated_answers import CONTROL_BASELINES, INTROSPECTION_BASELINES, SIDES, answers, ends, noisy, rng

from introbench.stats.balanced_answers import Answer, balance
from introbench.stats.control_curve import compare_excesses, fit_control_curve


def test_complete_answers_are_arranged_by_unit_and_question() -> None:
    given = answers(lambda unit, side, at: unit + 10 * side + at, units=3)
    balanced = balance([[given[n] for n in rng().permutation(len(given))]])
    kind = balanced.kinds["words"]
    assert np.array_equal(kind.control_baselines, np.tile(CONTROL_BASELINES, (3, 1)))
    assert np.array_equal(kind.introspection_baselines, np.tile(INTROSPECTION_BASELINES, (3, 1)))
    assert np.array_equal(kind.sides, SIDES)
    assert kind.introspection_shifts[2].tolist() == pytest.approx(2 + 10 * SIDES + INTROSPECTION_BASELINES)
    assert balanced.control_questions == [*range(34)]
    assert balanced.introspection_questions == [*range(34, 40)]
    assert (balanced.missing, balanced.without_line) == (0, ())


def test_populations_are_numbered_and_have_units_of_their_own() -> None:
    balanced = balance([noisy(0, units=2), noisy(1, units=3)])
    assert balanced.population.tolist() == [0, 0, 1, 1, 1]


def test_label_assignments_cancel_a_pull_toward_a_label() -> None:
    plain = noisy(1)
    pulled = [
        replace(answer, labels=labels, baseline=answer.baseline + pull, shift=answer.shift + 0.4 * pull)
        for answer in plain
        for labels, pull in (("a-b", 2.0), ("b-a", -2.0))
    ]
    expected, averaged = fit_control_curve(plain, rng=rng()), fit_control_curve(pulled, rng=rng())
    for name in ("excess", "bias", "flattening"):
        assert ends(getattr(averaged, name)) == pytest.approx(ends(getattr(expected, name)))
    one_sided = fit_control_curve(
        [answer for answer in pulled if answer.side == 0 or answer.labels == "a-b"], rng=rng()
    )
    assert math.isnan(one_sided.excess.estimate), "no question has both assignments"
    assert one_sided.missing == 9 * 6


def test_repeated_answers_are_averaged_over_the_finite_ones() -> None:
    plain = noisy(2)
    repeated = [replace(answer, shift=answer.shift + more) for answer in plain for more in (-0.3, 0.3)]
    lost = [replace(answer, shift=math.nan) for answer in plain[:50]]
    averaged = fit_control_curve([*lost, *repeated], rng=rng())
    assert ends(averaged.excess) == pytest.approx(ends(fit_control_curve(plain, rng=rng()).excess))
    assert averaged.missing == 0


@pytest.mark.parametrize("item", ["control 20", "question 5"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_question_that_is_missing_for_one_unit_is_left_out_for_all(item: str, absent: bool) -> None:
    complete = noisy(3)
    lost = [
        replace(answer, shift=math.nan) if (answer.unit, answer.item) == ("unit 4", item) else answer
        for answer in complete
        if not (absent and (answer.unit, answer.item) == ("unit 4", item))
    ]
    fit = fit_control_curve(lost, rng=rng())
    expected = fit_control_curve([answer for answer in complete if answer.item != item], rng=rng())
    assert replace(fit, missing=0) == expected
    assert fit.missing == 9


@pytest.mark.parametrize("family", [0, 1])
def test_a_unit_without_answers_does_not_take_the_others_with_it(family: int) -> None:
    complete = noisy(4)
    lost = [
        replace(answer, shift=math.inf) if answer.unit == "unit 4" and abs(answer.side) == family else answer
        for answer in complete
    ]
    fit = fit_control_curve(lost, rng=rng())
    expected = fit_control_curve([answer for answer in complete if answer.unit != "unit 4"], rng=rng())
    assert replace(fit, missing=0) == expected
    assert (fit.missing, fit.excess.units) == (40, 8)


def test_order_and_names_of_kinds_do_not_matter() -> None:
    ordered = [*noisy(5), *noisy(6, kind="digits", labels="0-1"), *noisy(7, kind="digits", labels="1-0")]
    ordered += [*noisy(8), *noisy(9)]  # a third answer of each kind: sums of three depend on their order
    shuffled = [ordered[n] for n in rng(1).permutation(len(ordered))]
    assert fit_control_curve(ordered, rng=rng()) == fit_control_curve(shuffled, rng=rng())
    expected = compare_excesses(ordered, ordered[:800], rng=rng())
    assert compare_excesses(shuffled, ordered[799::-1], rng=rng()) == expected


def test_kinds_without_a_line_are_left_out_and_named() -> None:
    good = noisy(11)
    few = [a for a in noisy(12, kind="few") if a.side or a.item in {"control 00", "control 20"}]
    flat = [a if a.side else replace(a, baseline=-3.0) for a in noisy(13, kind="flat")]
    single = [a if a.side or a.item == "control 20" else replace(a, baseline=-3.0) for a in noisy(14, kind="single")]
    unasked = [a for a in noisy(15, kind="unasked") if not a.side]
    fit = fit_control_curve([*good, *few, *flat, *single, *unasked], rng=rng())
    assert fit.without_curve == ("few", "flat", "single", "unasked")
    assert replace(fit, without_curve=()) == fit_control_curve(good, rng=rng())
    none = fit_control_curve(flat, rng=rng())
    assert all(math.isnan(value) for value in (*ends(none.excess), *ends(none.bias), none.near))
    assert (none.excess.units, none.by_kind, none.questions, none.controls) == (0, {}, 0, 0)


def test_three_controls_are_enough_for_a_line() -> None:
    kept = {"control 00", "control 20", "control 30"}
    shifted = answers(lambda _, side, at: 1 - at + side)
    fit = fit_control_curve([answer for answer in shifted if answer.side or answer.item in kept], rng=rng())
    assert ends(fit.excess) == pytest.approx((1, 1, 1), abs=1e-9)
    assert fit.controls == 3


def test_nothing_asked_is_nothing_measured() -> None:
    fit = fit_control_curve([], rng=rng())
    assert math.isnan(fit.excess.estimate)
    assert (fit.excess.units, fit.questions, fit.controls, fit.missing) == (0, 0, 0, 0)


@pytest.mark.parametrize("sides", [(2.0, 2.0), (math.nan, math.nan), (1.0, -1.0), (0.0, 1.0)])
def test_sides_that_cannot_be_are_refused(sides: Sequence[float]) -> None:
    wrong = [Answer(f"unit {n}", "odd", "words", "a-b", side, 0.0, 0.0) for n, side in enumerate(sides)]
    with pytest.raises(ValueError, match="'odd'"):
        fit_control_curve([*noisy(30), *wrong], rng=rng())
