"""Excesses compared: those of two populations of vectors, and those of two families of questions."""

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
    Comparison,
    FamilyAnswers,
    compare_excesses,
    compare_families,
    fit_control_curve,
)
from introbench.stats.intervals import Interval

# Two populations


def difference_of(first: Sequence[Answer], second: Sequence[Answer]) -> Interval:
    return compare_excesses(first, second, rng=rng()).difference


def test_half_of_the_first_is_compared_with_the_second() -> None:
    concept, random = (answers(lambda _, side, at, n=n: 0.3 - 0.1 * at + n * side) for n in (1.0, 0.2))
    comparison = compare_excesses(concept, random, rng=rng())
    assert ends(comparison.difference) == pytest.approx((0.8,) * 3, abs=1e-9)
    assert ends(comparison.beyond_half) == pytest.approx((-0.3,) * 3, abs=1e-9)
    assert ends(compare_excesses(random, concept, rng=rng()).beyond_half) == pytest.approx((0.9,) * 3, abs=1e-9)


def test_the_interval_of_half_allows_for_both_populations() -> None:
    """Questions agree, so that the variances are those of the units: the first's is divided by four."""
    draw = rng(20)
    first, second = (draw.standard_normal(9) for _ in range(2))
    both = [answers(lambda unit, side, at, of=of: side * of[unit]) for of in (first, second)]
    interval = compare_excesses(*both, rng=rng()).beyond_half
    assert interval.estimate == pytest.approx(second.mean() - first.mean() / 2)
    variances = [part.variance for part in interval.parts if part.source == "units"]
    assert variances == pytest.approx([first.var(ddof=1) / 9 / 4, second.var(ddof=1) / 9])


def test_what_a_question_does_to_both_populations_cancels() -> None:
    draw = rng(22)
    effects = {item: draw.standard_normal() for item, *_ in ITEMS}
    concept = [replace(a, shift=a.shift + a.side + effects[a.item]) for a in noisy(23, spread=0.05)]
    random = [replace(a, shift=a.shift + 0.25 * a.side + effects[a.item]) for a in noisy(24, units=3, spread=0.05)]
    difference = difference_of(concept, random)
    assert difference.low < 0.75 < difference.high
    assert difference.units == 3
    alone = fit_control_curve(concept, rng=rng()).excess
    assert 4 * (difference.high - difference.low) < alone.high - alone.low
    assert difference.estimate == pytest.approx(alone.estimate - fit_control_curve(random, rng=rng()).excess.estimate)


def test_difference_is_of_the_same_questions() -> None:
    first, second = noisy(25), noisy(26, units=4)
    cut = [a for a in second if a.item not in {"question 1", "control 30"}]
    expected = difference_of([a for a in first if a.item not in {"question 1", "control 30"}], cut)
    assert difference_of(first, cut) == expected
    other = noisy(27, kind="digits")
    assert difference_of([*first, *other], second) == difference_of(first, second)


def test_difference_without_units_or_with_one() -> None:
    complete = noisy(28)
    assert all(math.isnan(end) for end in ends(difference_of(complete, [])))
    assert all(math.isnan(end) for end in ends(difference_of([], [])))
    single = difference_of(complete, noisy(29, units=1))
    assert math.isfinite(single.estimate)
    assert math.isnan(single.low)
    assert single.units == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 4), st.floats(-5, 5))
def test_differences_turn_around(seed: int, units: int, more: float) -> None:
    """With fewer than five units the interval is symmetric, so that it turns as well."""
    first, second = noisy(seed, 4), noisy(seed + 1, units)
    second = [replace(a, shift=a.shift + more * a.side) for a in second]
    there, back = difference_of(first, second), difference_of(second, first)
    assert np.allclose(ends(there), [-end for end in ends(back)[::-1]])
    assert there.estimate == pytest.approx(difference_of(first, noisy(seed + 1, units)).estimate - more)


# Two families of questions


def split(given: Sequence[Answer], others: Sequence[str]) -> tuple[list[Answer], list[Answer], list[Answer]]:
    """Questions with a side that are not among the others, the others, and controls."""
    return (
        [a for a in given if a.side and a.item not in others],
        [a for a in given if a.item in others],
        [a for a in given if not a.side],
    )


def paired(first: Sequence[Answer], second: Sequence[Answer], controls: Sequence[Answer]) -> Interval:
    return compare_families([FamilyAnswers(first, second, controls)], rng=rng()).difference


def compared(*populations: FamilyAnswers) -> Comparison:
    return compare_families(populations, rng=rng())


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


def test_half_of_the_first_family_is_compared_with_the_second() -> None:
    shifted = answers(lambda unit, side, at: 1 - 0.3 * at + side * (1 + 0.1 * unit))
    introspection, salience, controls = split(shifted, ["question 0", "question 1", "question 4"])
    alone = compared(FamilyAnswers(introspection, salience, controls))
    assert alone.beyond_half.estimate == pytest.approx(1.4 / 2)
    assert alone.beyond_half.low < 0.7 < alone.beyond_half.high, "half of what units differ in is left"
    less = [replace(a, shift=a.shift - (0.5 + 0.05 * int(a.unit[-1])) * a.side) for a in salience]
    half = compared(FamilyAnswers(introspection, less, controls))
    assert ends(half.beyond_half) == pytest.approx((0, 0, 0), abs=1e-9), "each unit has exactly half of its own"


def test_both_families_are_taken_beyond_the_second_population() -> None:
    """A question that stands out under any vector is not what concepts bring to mind."""

    def population(introspection: float, salience: float, slope: float) -> FamilyAnswers:
        shifted = answers(lambda unit, side, at: slope * at + side * introspection)
        asked, salient, controls = split(shifted, ["question 0", "question 1", "question 4"])
        moved = [replace(a, shift=a.shift + (salience - introspection) * a.side) for a in salient]
        return FamilyAnswers(asked, moved, controls)

    concepts, random = population(2.0, 0.9, -0.3), population(0.4, 0.7, 0.1)
    alone, beyond = compared(concepts), compared(concepts, random)
    assert ends(alone.difference) == pytest.approx((1.1,) * 3, abs=1e-9)
    assert ends(alone.beyond_half) == pytest.approx((-0.1,) * 3, abs=1e-9)
    assert ends(beyond.difference) == pytest.approx((1.4,) * 3, abs=1e-9), "(2 - 0.4) - (0.9 - 0.7)"
    assert ends(beyond.beyond_half) == pytest.approx((-0.6,) * 3, abs=1e-9), "(0.9 - 0.7) - (2 - 0.4) / 2"
