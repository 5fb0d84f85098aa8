"""The control line: what an injection does to any answer, and what it does to introspection beyond that.

An injection that flattens multiplies every log-odds by 1 - flattening: a confident no moves up, a confident yes down.
A yes-bias moves every answer up alike. Under both, the shifts of one injected vector lie on a line over the log-odds
under the sham,

    shift = bias - flattening * baseline,

which is fitted to the control questions, for each vector and each kind of answer by itself (`robust_line`). The excess
is what introspection questions move beyond their vector's line, turned by each question's side so that "noticed" is
positive. A bias and a flattening alone leave an excess of 0. Intervals allow for few vectors and for few questions
(`two_way_interval`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from introbench.stats.balanced_answers import Answer, BalancedAnswers, KindAnswers, balance
from introbench.stats.intervals import Array, Interval
from introbench.stats.probability_pull import fit_pulls, pulled_shifts
from introbench.stats.robust_line import heights, leave_one_out_lines, robust_lines
from introbench.stats.two_way_interval import (
    QuestionEffects,
    UnitEstimates,
    mean_over_kinds,
    paired_difference,
    two_way_interval,
)

REACH = 1.0
"""Nats beyond the range of the control baselines within which their line is still trusted."""


@dataclass(frozen=True)
class ControlLineFit:
    """What injections did to all answers alike, and to introspection beyond that; in nats.

    Attributes:
        excess: Shift of introspection questions beyond the lines, turned so that "noticed" is positive: mean over kinds
            (with equal weight), questions and units.
        by_kind: The same in each kind that has a line.
        bias: How far the lines move an answer with even odds toward yes, mean over kinds and units.
        flattening: Share of the log-odds that the lines take away, mean over kinds and units.
        covered: Share of the introspection baselines that lie within the range of the control baselines; for the others
            the line is extrapolated. NaN without a line.
        within_reach: Share of the introspection baselines that lie no further than `REACH` from that range.
        over_pull: The excess over a push of log-odds and a pull of probabilities toward 1/2, in place of the line; see
            `introbench.stats.probability_pull`. NaN without a line.
        questions: Number of introspection questions.
        controls: Number of control questions.
        missing: Number of answers, by unit, question and kind, that could not be used: lost, not finite, without one of
            the kind's label assignments, or to a question that is missing for another unit.
        without_line: Kinds that were left out, see `fit_control_line`.
    """

    excess: Interval
    by_kind: dict[str, Interval]
    bias: Interval
    flattening: Interval
    covered: float
    within_reach: float
    over_pull: float
    questions: int
    controls: int
    missing: int
    without_line: tuple[str, ...]


def fit_control_line(
    answers: Sequence[Answer], *, level: float = 0.95, resamples: int = 2000, rng: np.random.Generator
) -> ControlLineFit:
    """Bias and flattening from the control questions, and the excess of the introspection questions.

    A kind has no line, and is left out, unless it has an introspection question and at least three control questions,
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

    def interval(estimates: UnitEstimates) -> Interval:
        return two_way_interval([estimates], level, resamples, rng)

    excess = interval(mean_over_kinds([kind.excess for kind in effects]))
    bias = interval(mean_over_kinds([kind.bias for kind in effects]))
    flattening = interval(mean_over_kinds([kind.flattening for kind in effects]))
    return ControlLineFit(
        excess=excess,
        by_kind={
            name: interval(kind.excess) if len(effects) > 1 else excess
            for name, kind in zip(data.kinds, effects, strict=True)
        },
        bias=bias,
        flattening=flattening,
        covered=_share_within(data, 0.0),
        within_reach=_share_within(data, REACH),
        over_pull=float(np.mean([_excess_over_pull(kind) for kind in data.kinds.values()])) if data.kinds else math.nan,
        questions=len(data.introspection_questions),
        controls=len(data.control_questions),
        missing=data.missing,
        without_line=data.without_line,
    )


def excess_difference(
    first: Sequence[Answer],
    second: Sequence[Answer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Interval:
    """Excess of one population of units minus excess of another: concept vectors against random vectors.

    The populations are independent and answer the same questions, so that what a question does to both cancels.
    Questions that are missing for a unit of either are left out for both.

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
    samples = [
        mean_over_kinds([excess.part(data.population == number, sign) for excess in excesses])
        for number, sign in ((0, 1.0), (1, -1.0))
    ]
    return two_way_interval(samples, level, resamples, rng)


def paired_excess_difference(
    first: Sequence[Answer],
    second: Sequence[Answer],
    controls: Sequence[Answer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Interval:
    """Excess of some questions minus excess of others, answered by the same units: introspection against salience.

    Both are over the same lines through the control questions, in the kinds in which both are asked, and units are
    paired. What a control question does to both cancels; the questions of the two sides are two families.

    Args:
        first: Answers to the first questions, with sides.
        second: Answers to the second questions, with sides.
        controls: Answers to control questions.
        level: Nominal coverage of the interval, which needs two units, and two questions on both sides.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Raises:
        ValueError: A side is not -1, 0 or 1, or one question has two sides.
    """
    kinds = {answer.kind for answer in first} & {answer.kind for answer in second}
    # A unit without answers to one set of questions is left out, so that it does not take the others with it.
    units = [{answer.unit for answer in answers if math.isfinite(answer.shift)} for answers in (first, second)]
    in_both = [
        answer for answer in (*first, *second, *controls) if answer.kind in kinds and answer.unit in units[0] & units[1]
    ]
    second_items = {answer.item for answer in second}
    is_second = np.array([item in second_items for item in sorted({answer.item for answer in in_both})], dtype=bool)
    data = balance([in_both])
    differences = []
    for kind in data.kinds.values():
        mask = is_second[kind.introspection_questions]
        sides = kind.with_questions(~mask), kind.with_questions(mask)
        if all(side.has_line for side in sides):
            one, two = (
                kind_effects(side, data.control_questions, data.introspection_questions).excess for side in sides
            )
            differences.append(paired_difference(one, two))
    return two_way_interval([mean_over_kinds(differences)], level, resamples, rng)


def excess_by_unit(answers: Sequence[Answer]) -> dict[str, float]:
    """The excess of each unit by itself, in nats, without intervals; NaN where a unit has no line.

    Args:
        answers: In any order.
    """
    excesses = {}
    for unit in sorted({answer.unit for answer in answers}):
        kinds = balance([[answer for answer in answers if answer.unit == unit]]).kinds.values()
        by_kind = [_excess_over(kind, robust_lines(kind.control_baselines, kind.control_shifts)[0]) for kind in kinds]
        excesses[unit] = (
            float(np.mean([excess.mean(axis=-1) for excess in by_kind], axis=0)[0]) if by_kind else math.nan
        )
    return excesses


class KindEffects(NamedTuple):
    """Excess, bias and flattening of each unit in one kind of answer."""

    excess: UnitEstimates
    bias: UnitEstimates
    flattening: UnitEstimates


def _effects_by_kind(data: BalancedAnswers) -> list[KindEffects]:
    """The effects in each kind that has a line."""
    return [kind_effects(kind, data.control_questions, data.introspection_questions) for kind in data.kinds.values()]


def kind_effects(kind: KindAnswers, controls: Sequence[int], questions: Sequence[int]) -> KindEffects:
    """Excess, bias and flattening of each unit in one kind.

    Args:
        kind: Its answers.
        controls: The control questions of all kinds by number, in ascending order: what the jackknife deviations have
            columns for, with 0 for those that this kind lacks.
        questions: The introspection questions of all kinds, likewise.
    """
    lines, scale = robust_lines(kind.control_baselines, kind.control_shifts)
    lines_without = leave_one_out_lines(kind.control_baselines, kind.control_shifts, lines, scale)
    excess, excess_without = _excess_over(kind, lines), _excess_over(kind, lines_without)
    units, count = excess.shape
    question_deviations = np.zeros((units, len(questions)))
    # The jackknife of a mean in closed form.
    deviations = (excess - excess.mean(axis=1, keepdims=True)) / math.sqrt(max(1, count * (count - 1)))
    question_deviations[:, np.searchsorted(questions, kind.introspection_questions)] = deviations

    def estimates(values: Array, values_without: Array, *others: QuestionEffects) -> UnitEstimates:
        control_deviations = np.zeros((units, len(controls)))
        shrink = math.sqrt(1 - 1 / len(values_without))
        control_deviations[:, np.searchsorted(controls, kind.control_questions)] = (
            shrink * (values_without.mean(axis=0) - values_without).T
        )
        # A line takes two degrees of freedom, a mean one.
        return UnitEstimates(values, (QuestionEffects(len(values_without) - 2, control_deviations), *others))

    return KindEffects(
        excess=estimates(
            excess.mean(axis=-1), excess_without.mean(axis=-1), QuestionEffects(count - 1, question_deviations)
        ),
        bias=estimates(lines[..., 0], lines_without[..., 0]),
        flattening=estimates(-lines[..., 1], -lines_without[..., 1]),
    )


def _excess_over(kind: KindAnswers, lines: Array) -> Array:
    """The excess of each introspection question over lines [..., units, 2]: [..., units, questions], in nats."""
    return np.asarray(kind.sides * (kind.introspection_shifts - heights(lines, kind.introspection_baselines)))


def _share_within(data: BalancedAnswers, reach: float) -> float:
    """Share of the introspection baselines that lie no further than `reach` nats from the control baselines' range."""
    inside = [
        (kind.introspection_baselines >= kind.control_baselines.min(axis=1, keepdims=True) - reach)
        & (kind.introspection_baselines <= kind.control_baselines.max(axis=1, keepdims=True) + reach)
        for kind in data.kinds.values()
    ]
    return float(np.concatenate([of_kind.ravel() for of_kind in inside]).mean()) if inside else math.nan


def _excess_over_pull(kind: KindAnswers) -> float:
    """Mean excess of one kind over a push of log-odds and a pull of probabilities, in nats."""
    push, pull = fit_pulls(kind.control_baselines, kind.control_shifts)
    expected = pulled_shifts(kind.introspection_baselines, pull[:, None])
    return float((kind.sides * (kind.introspection_shifts - push[:, None] - expected)).mean())
