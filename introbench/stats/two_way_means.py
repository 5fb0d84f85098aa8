"""Means and differences of means of what units answered to questions, with intervals that allow for both.

Units (vectors) and questions are both few, and all units answer the same questions. A mean over both therefore has the
interval of two-way clustering (`two_way_interval`); what differs from the excess over a control curve is that the mean
of a family of questions has a jackknife in closed form.

Questions have strata, which are the sides of introspection questions (plain and reversed): they are averaged within
each stratum, then over strata with equal weight. A push toward yes, which moves the two sides apart, then neither moves
the mean of what was noticed nor widens its interval. The strata of a family are taken to vary alike, so that their
squares are pooled; the variance has as many degrees of freedom as there are questions beyond one for each stratum.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from introbench.stats.intervals import FEWEST_FOR_BOOTSTRAP, NOT_MEASURED, Array, Interval
from introbench.stats.two_way_interval import QuestionEffects, UnitEstimates, mean_over_kinds, two_way_interval


class QuestionAnswer(NamedTuple):
    """What one unit gave on one question.

    Attributes:
        unit: Name of the unit.
        question: Name of the question.
        stratum: Stratum of the question, the same for all units.
        form: How it was asked for and read. Forms are averaged with equal weight, and are not drawn at random.
        value: A finite number.
    """

    unit: str
    question: str
    stratum: float
    form: str
    value: float


def unit_means(answers: Iterable[QuestionAnswer]) -> UnitEstimates:
    """The mean of each unit: over the questions of each stratum, over strata, then over forms.

    Args:
        answers: One for each unit, question and form that was asked, in any order.

    Returns:
        Units in the order of their names, with one family of questions; without answers, estimates of no units.

    Raises:
        ValueError: A unit lacks a question that another one has in the same form.
    """
    by_place: dict[tuple[str, ...], float] = {}
    stratum_of: dict[str, float] = {}
    for answer in answers:
        by_place[answer.form, answer.unit, answer.question] = answer.value
        stratum_of[answer.question] = answer.stratum
    forms, units, questions = (sorted(set(names)) for names in zip(*by_place, strict=True)) if by_place else ([],) * 3
    values = np.full((len(forms), len(units), len(questions)), np.nan)
    numbers = [{name: number for number, name in enumerate(names)} for names in (forms, units, questions)]
    for place, value in by_place.items():
        values[tuple(number[name] for number, name in zip(numbers, place, strict=True))] = value
    asked = np.isfinite(values)
    if (asked.any(axis=1) != asked.all(axis=1)).any():
        raise ValueError("expected every unit to have answered every question that another one answered in a form")
    strata = np.array([stratum_of[question] for question in questions])
    by_form = [stratified_means(of_form, strata) for of_form in values]
    mean = mean_over_kinds(by_form)
    # Forms may be asked of different questions, whose degrees of freedom add up then.
    counts = asked.any(axis=1).sum(axis=1)
    share = min((of_form.families[0].freedom / n for of_form, n in zip(by_form, counts, strict=True)), default=0.0)
    freedom = int(share * len(questions) + 1e-9)
    return UnitEstimates(mean.values, tuple(QuestionEffects(freedom, family.deviations) for family in mean.families))


def stratified_means(values: Array, strata: Array) -> UnitEstimates:
    """The mean of each unit over the questions of each stratum, then over strata.

    Args:
        values: [units, questions]; NaN for a question that was not asked.
        strata: The stratum of each question, [questions].
    """
    asked = np.isfinite(values).all(axis=0)
    of_strata = [asked & (strata == stratum) for stratum in np.unique(strata[asked])]
    means = np.array([values[:, mask].mean(axis=1) for mask in of_strata])
    deviations = np.zeros_like(values)
    for mask, mean in zip(of_strata, means, strict=True):
        deviations[:, mask] = values[:, mask] - mean[:, None]
    freedom = int(asked.sum()) - len(of_strata)
    # The variance of a mean of strata is the pooled variance of a question times this sum.
    share = sum(1 / mask.sum() for mask in of_strata) / max(1, len(of_strata)) ** 2
    effects = QuestionEffects(freedom, deviations * math.sqrt(share / max(1, freedom)))
    return UnitEstimates(means.mean(axis=0), (effects,))


def weighted_sum(parts: Sequence[tuple[float, UnitEstimates]]) -> UnitEstimates:
    """The weighted sum, unit by unit, of what the same units gave on different families of questions."""
    return UnitEstimates(
        np.sum([weight * estimates.values for weight, estimates in parts], axis=0),
        tuple(
            QuestionEffects(family.freedom, weight * family.deviations)
            for weight, estimates in parts
            for family in estimates.families
        ),
    )


def negative(estimates: UnitEstimates) -> UnitEstimates:
    """The estimates with the sign turned, for a difference of two populations of units."""
    return weighted_sum([(-1.0, estimates)])


def interval_of_means(
    samples: Sequence[UnitEstimates], *, level: float = 0.95, resamples: int = 4000, rng: np.random.Generator
) -> Interval:
    """Interval for the sum of the means of independent samples of units, which answered the same questions.

    Measured on nine units (500 simulations each): what is noticed on 12 questions, half reversed, and the difference
    of the plain ones from 34 control questions of the same population are covered 93-97%, whatever the standard
    deviation of questions (0 to 0.5 nats, with units and single cells at 0.1 to 0.3). Two to four units: 95-98%.

    Args:
        samples: One sample, or two with the second one's sign turned (`negative`) for a difference.
        level: Nominal coverage.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Returns:
        The interval; without ends if there is one unit, a family of questions without degrees of freedom, or fewer than
        five units that all agree on a number other than 0; `NOT_MEASURED` without units.
    """
    if not all(len(sample.values) for sample in samples):
        return NOT_MEASURED
    interval = two_way_interval(samples, level, resamples, rng)
    agree = all(np.ptp(sample.values) == 0 for sample in samples)
    if agree and interval.estimate != 0 and interval.units < FEWEST_FOR_BOOTSTRAP:
        return interval.without_ends  # rounded numbers agree by chance
    return interval


def fewest_questions(samples: Sequence[UnitEstimates]) -> int:
    """The number of questions of the family that has fewest; 0 without any."""
    return min((family.deviations.shape[1] for sample in samples for family in sample.families), default=0)


def least_freedom(samples: Sequence[UnitEstimates]) -> int:
    """The degrees of freedom of units or of a family of questions, whichever has fewest; at least 1."""
    of_units = (len(sample.values) - 1 for sample in samples)
    of_questions = (family.freedom for sample in samples for family in sample.families)
    return max(1, min((*of_units, *of_questions), default=1))
