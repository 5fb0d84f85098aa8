"""The control curve: what an injection does to any answer, and what it does to introspection beyond that.

An injection may push every answer toward yes, pull every answer toward even odds (flattening), or mix answers with a
coin toss. Whatever it does to answers as such, the shifts of one injected vector lie on a curve over the log-odds under
the sham. The curve is fitted to the control questions, for each vector and each kind of answer by itself
(`robust_curve`). The excess is what introspection questions move beyond their vector's curve at their own baselines,
turned by each question's side so that "noticed" is positive. What injections do to any answer leaves an excess of 0.

Plain and reversed questions are averaged first and count half each, so that a push that introspection questions alone
get, toward yes or toward no, cancels. Intervals allow for few vectors, few questions of each family and side, and few
kinds of answers (`two_way_interval`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from introbench.stats.balanced_answers import Answer, BalancedAnswers, KindAnswers, balance
from introbench.stats.intervals import Array, Interval
from introbench.stats.kind_effects import KindEffects, kind_effects
from introbench.stats.robust_curve import curve_basis, heights, robust_fits
from introbench.stats.two_way_interval import UnitEstimates, interval_over_kinds, paired_combination

REACH = 1.0
"""Nats within which a control question is near an introspection question."""

FEWEST_NEAR = 3
"""Control questions that have to be near an introspection question for the curve to say something about it."""


HALF_LEVEL = 0.9
"""Nominal coverage of the intervals that say whether one excess is half of another: either side is tested at 5%, as is
usual in tests of equivalence (Schuirmann 1987)."""


@dataclass(frozen=True)
class ControlCurveFit:
    """What injections did to all answers alike, and to introspection beyond that; in nats.

    Attributes:
        excess: Shift of introspection questions beyond the curves, turned so that "noticed" is positive: mean over
            kinds (with equal weight), over plain and reversed questions (likewise), and over units.
        by_kind: The same in each kind that has a curve.
        bias: How far straight lines through the control questions move an answer with even odds toward yes, mean over
            kinds and units.
        flattening: Share of the log-odds that these lines take away, mean over kinds and units.
        near: Share of the introspection questions with at least `FEWEST_NEAR` control questions no further than `REACH`
            from their baselines; elsewhere the curve leans on questions that are unlike them. NaN without a curve.
        questions: Number of introspection questions.
        sides: How many of them are plain and reversed.
        controls: Number of control questions.
        missing: Number of answers, by unit, question and kind, that could not be used: lost, not finite, without one of
            the kind's label assignments, or to a question that is missing for another unit.
        without_curve: Kinds that were left out, see `fit_control_curve`.
    """

    excess: Interval
    by_kind: dict[str, Interval]
    bias: Interval
    flattening: Interval
    near: float
    questions: int
    sides: tuple[int, int]
    controls: int
    missing: int
    without_curve: tuple[str, ...]


def fit_control_curve(
    answers: Sequence[Answer], *, level: float = 0.95, resamples: int = 2000, rng: np.random.Generator
) -> ControlCurveFit:
    """Bias and flattening from the control questions, and the excess of the introspection questions.

    A kind has no curve, and is left out, unless it has an introspection question and at least three control questions,
    and a slope can be fitted whichever one of these is left out. A bias alone would pass flattening off as noticing.

    A question that is missing for one unit in a kind is left out there for all. A unit that answered none of a kind's
    introspection questions, or none of its control questions, is left out first, so that it does not take the others
    with it.

    Args:
        answers: In any order; repeated answers are averaged over the finite ones.
        level: Nominal coverage of the intervals, which need two units and two introspection questions.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller; it does not touch the estimates.

    Raises:
        ValueError: A side is not -1, 0 or 1, or one question has two sides.
    """
    data = balance([answers])
    effects = _effects_by_kind(data)

    def interval(by_kind: Sequence[UnitEstimates]) -> Interval:
        return interval_over_kinds([[estimates] for estimates in by_kind], level, resamples, rng)

    excess = interval([kind.excess for kind in effects])
    plain, reversed_ = ({q for kind in data.kinds.values() for q in _of_side(kind, side)} for side in (1, -1))
    return ControlCurveFit(
        excess=excess,
        by_kind={
            name: interval([kind.excess]) if len(effects) > 1 else excess
            for name, kind in zip(data.kinds, effects, strict=True)
        },
        bias=interval([kind.bias for kind in effects]),
        flattening=interval([kind.flattening for kind in effects]),
        near=_share_near(data),
        questions=len(data.introspection_questions),
        sides=(len(plain), len(reversed_)),
        controls=len(data.control_questions),
        missing=data.missing,
        without_curve=data.without_line,
    )


class Comparison(NamedTuple):
    """Two excesses compared, in nats.

    Attributes:
        difference: The first minus the second.
        beyond_half: The second minus half of the first: above 0 where the second is more than half as large; with the
            coverage `HALF_LEVEL`.
    """

    difference: Interval
    beyond_half: Interval


def compare_excesses(
    first: Sequence[Answer],
    second: Sequence[Answer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Comparison:
    """The excess of one population of units beside that of another: concept vectors and random vectors.

    The populations are independent and answer the same questions, so that what a question does to both cancels in the
    difference. Questions that are missing for a unit of either are left out for both.

    Args:
        first: Answers of the first population.
        second: Answers of the second; a unit of the same name is another unit.
        level: Nominal coverage; an interval needs two units on both sides.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Raises:
        ValueError: A side is not -1, 0 or 1, or one question has two sides.
    """
    data = balance([first, second])
    excesses = [kind.excess for kind in _effects_by_kind(data)]

    def combined(of_first: float, of_second: float, level: float) -> Interval:
        by_kind = [
            [excess.part(data.population == 0, of_first), excess.part(data.population == 1, of_second)]
            for excess in excesses
        ]
        return interval_over_kinds(by_kind, level, resamples, rng)

    return Comparison(combined(1.0, -1.0, level), combined(-0.5, 1.0, HALF_LEVEL))


class FamilyAnswers(NamedTuple):
    """Answers of one population of units to two families of questions with sides, and to control questions."""

    first: Sequence[Answer]
    second: Sequence[Answer]
    controls: Sequence[Answer]


def compare_families(
    populations: Sequence[FamilyAnswers],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Comparison:
    """The excess of some questions beside that of others, answered by the same units: introspection and salience.

    Both are over the same curves through the control questions, in the kinds in which both are asked, and units are
    paired. What a control question does to both cancels in the difference; the questions of the two sides are two
    families. With two populations, both excesses are those of the first minus those of the second, so that what a
    question does to the vectors of both cancels, too.

    Args:
        populations: One population, or two.
        level: Nominal coverage of the interval, which needs two units in each, and two questions on both sides.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Raises:
        ValueError: A side is not -1, 0 or 1, or one question has two sides.
    """
    kinds = set.intersection(
        *({a.kind for a in of} for answers in populations for of in (answers.first, answers.second))
    )
    second_items = {answer.item for answers in populations for answer in answers.second}
    in_both = [_of_units_with_both(answers, kinds) for answers in populations]
    items = sorted({answer.item for answers in in_both for answer in answers})
    is_second = np.array([item in second_items for item in items], dtype=bool)
    data = balance(in_both)
    pairs = []
    for kind in data.kinds.values():
        mask = is_second[kind.introspection_questions]
        sides = kind.with_questions(~mask), kind.with_questions(mask)
        if all(side.has_line for side in sides):
            one, two = (
                kind_effects(side, data.control_questions, data.introspection_questions).excess for side in sides
            )
            pairs.append((one, two))

    def combined(of_first: float, of_second: float, level: float) -> Interval:
        by_kind = []
        for one, two in pairs:
            both = paired_combination(one, of_first, two, of_second)
            by_kind.append([both.part(data.population == n, 1.0 - 2.0 * n) for n in range(len(populations))])
        return interval_over_kinds(by_kind, level, resamples, rng)

    return Comparison(combined(1.0, -1.0, level), combined(-0.5, 1.0, HALF_LEVEL))


def _of_units_with_both(answers: FamilyAnswers, kinds: set[str]) -> list[Answer]:
    """The answers in some kinds of those units that answered both families, so that they do not take others along."""
    units = [{answer.unit for answer in of if math.isfinite(answer.shift)} for of in (answers.first, answers.second)]
    return [
        answer
        for of in (answers.first, answers.second, answers.controls)
        for answer in of
        if answer.kind in kinds and answer.unit in units[0] & units[1]
    ]


def excess_by_unit(answers: Sequence[Answer]) -> dict[str, float]:
    """The excess of each unit by itself, in nats, without intervals; NaN where a unit has no curve.

    Args:
        answers: In any order.
    """
    excesses = {}
    for unit in sorted({answer.unit for answer in answers}):
        data = balance([[answer for answer in answers if answer.unit == unit]])
        by_kind = [kind.excess.values[0] for kind in _effects_by_kind(data)]
        excesses[unit] = float(np.mean(by_kind)) if by_kind else math.nan
    return excesses


def _effects_by_kind(data: BalancedAnswers) -> list[KindEffects]:
    """The effects in each kind that has a curve."""
    return [kind_effects(kind, data.control_questions, data.introspection_questions) for kind in data.kinds.values()]


def _of_side(kind: KindAnswers, side: int) -> list[int]:
    """The introspection questions of one side in a kind, by number."""
    return [int(number) for number in kind.introspection_questions[kind.sides == side]]


def _share_near(data: BalancedAnswers) -> float:
    """Share of the introspection questions, in all kinds, that have enough control questions near their baselines."""
    near = []
    for kind in data.kinds.values():
        baselines, controls = (b.mean(axis=0) for b in (kind.introspection_baselines, kind.control_baselines))
        distances = np.abs(baselines[:, None] - controls)
        near.append((distances <= REACH).sum(axis=1) >= FEWEST_NEAR)
    return float(np.concatenate(near).mean()) if near else math.nan


class MeanCurve(NamedTuple):
    """The control curve of one kind of answer, mean over units.

    Attributes:
        baselines: Log-odds under the sham, in nats, [points].
        shifts: The curve there, in nats, [points].
    """

    baselines: Array
    shifts: Array


def mean_curves(answers: Sequence[Answer], points: int = 40) -> dict[str, MeanCurve]:
    """The control curve of each kind, over the range of all questions' baselines; for pictures.

    Args:
        answers: In any order.
        points: At how many baselines.
    """
    data = balance([answers])
    curves = {}
    for name, kind in data.kinds.items():
        x = kind.control_baselines
        basis = curve_basis(x.mean(axis=0))
        fits, _ = robust_fits(basis, x, kind.control_shifts)
        every = np.concatenate([x.ravel(), kind.introspection_baselines.ravel()])
        at = np.linspace(every.min(), every.max(), points)
        shifts = heights(basis, fits, np.broadcast_to(at, (len(fits), points))).mean(axis=0)
        curves[name] = MeanCurve(at, shifts)
    return curves
