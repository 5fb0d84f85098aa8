"""Excess, bias and flattening of each unit in one kind of answer, and what each question does to them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from introbench.stats.balanced_answers import KindAnswers
from introbench.stats.intervals import Array
from introbench.stats.robust_curve import (
    curve_basis,
    heights,
    intercepts_and_slopes,
    leave_one_out_fits,
    line_basis,
    robust_fits,
)
from introbench.stats.two_way_interval import QuestionEffects, UnitEstimates


class KindEffects(NamedTuple):
    """Excess, bias and flattening of each unit in one kind of answer."""

    excess: UnitEstimates
    bias: UnitEstimates
    flattening: UnitEstimates


def kind_effects(kind: KindAnswers, controls: Sequence[int], questions: Sequence[int]) -> KindEffects:
    """Excess, bias and flattening of each unit in one kind.

    Args:
        kind: Its answers.
        controls: The control questions of all kinds by number, in ascending order: what the jackknife deviations have
            columns for, with 0 for those that this kind lacks.
        questions: The introspection questions of all kinds, likewise.
    """
    x, y = kind.control_baselines, kind.control_shifts
    units, count = x.shape

    def estimates(values: Array, values_without: Array, freedom: int, *others: QuestionEffects) -> UnitEstimates:
        control_deviations = np.zeros((units, len(controls)))
        shrink = math.sqrt(1 - 1 / count)
        control_deviations[:, np.searchsorted(controls, kind.control_questions)] = (
            shrink * (values_without.mean(axis=0) - values_without).T
        )
        return UnitEstimates(values, (QuestionEffects(freedom, control_deviations), *others))

    curve = curve_basis(x.mean(axis=0))
    curves, scale = robust_fits(curve, x, y)
    curves_without = leave_one_out_fits(curve, x, y, curves, scale)
    weights = _side_weights(kind.sides)
    beyond = kind.sides * (kind.introspection_shifts - heights(curve, curves, kind.introspection_baselines))
    beyond_without = kind.sides * (
        kind.introspection_shifts - heights(curve, curves_without, kind.introspection_baselines)
    )
    question_deviations = np.zeros((units, len(questions)))
    deviations, question_freedom = _deviations_within_sides(beyond, kind.sides)
    question_deviations[:, np.searchsorted(questions, kind.introspection_questions)] = deviations

    line = line_basis(x.mean(axis=0))
    lines, line_scale = robust_fits(line, x, y)
    lines_without = leave_one_out_fits(line, x, y, lines, line_scale)
    straight, straight_without = (intercepts_and_slopes(line, fits) for fits in (lines, lines_without))
    return KindEffects(
        excess=estimates(
            beyond @ weights,
            beyond_without @ weights,
            # A curve takes as many degrees of freedom as it has functions, a mean one.
            count - curve.size,
            QuestionEffects(question_freedom, question_deviations),
        ),
        bias=estimates(straight[..., 0], straight_without[..., 0], count - line.size),
        flattening=estimates(-straight[..., 1], -straight_without[..., 1], count - line.size),
    )


def _side_weights(sides: Array) -> Array:
    """The weight of each introspection question, [questions]: plain and reversed ones have half of it each."""
    present = np.unique(sides)
    return np.asarray(sum((sides == side) / (len(present) * (sides == side).sum()) for side in present))


def _deviations_within_sides(beyond: Array, sides: Array) -> tuple[Array, int]:
    """The jackknife deviations of the mean over sides, in closed form, and their degrees of freedom.

    Questions deviate from the mean of their own side; where a side has a single one, from the mean of all.

    Args:
        beyond: Excess of each unit and question, [units, questions].
        sides: The questions' sides, [questions].

    Returns:
        Deviations, [units, questions], and degrees of freedom.
    """
    counts = [(sides == side).sum() for side in np.unique(sides)]
    strata = [sides == side for side in np.unique(sides)] if min(counts) > 1 else [np.ones(len(sides), dtype=bool)]
    deviations = np.zeros_like(beyond)
    for stratum in strata:
        count = stratum.sum()
        of_stratum = beyond[:, stratum]
        centred = of_stratum - of_stratum.mean(axis=1, keepdims=True)
        deviations[:, stratum] = centred / len(strata) / math.sqrt(max(1, count * (count - 1)))
    return deviations, len(sides) - len(strata)
