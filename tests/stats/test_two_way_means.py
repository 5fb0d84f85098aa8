"""Means over units and questions: by hand, and coverage of their intervals by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from introbench.stats.intervals import Interval
from introbench.stats.two_way_interval import UnitEstimates
from introbench.stats.two_way_means import (
    QuestionAnswer,
    fewest_questions,
    interval_of_means,
    least_freedom,
    negative,
    stratified_means,
    unit_means,
    weighted_sum,
)

SIDES = np.array([1.0, -1.0] * 6)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def excludes(interval: Interval, truth: float = 0.0) -> bool:
    return not interval.low <= truth <= interval.high


def test_strata_count_alike_whatever_their_size() -> None:
    values = np.array([[1.0, 2.0, 3.0, 8.0], [1.0, 2.0, 3.0, 6.0]])
    estimates = stratified_means(values, np.array([1.0, 1.0, 1.0, -1.0]))
    assert estimates.values == pytest.approx([(2 + 8) / 2, (2 + 6) / 2])
    (effects,) = estimates.families
    assert effects.freedom == 2
    # The pooled variance of a question is 1, so that of the mean is (1/3 + 1) / 4.
    assert np.square(effects.deviations.mean(axis=0)).sum() == pytest.approx((1 / 3 + 1) / 4)


def test_units_that_are_alike_leave_the_t_interval_of_questions() -> None:
    of_questions = rng().standard_normal(10)
    interval = interval_of_means([stratified_means(np.tile(of_questions, (9, 1)), np.ones(10))], rng=rng())
    reach = float(stats.t.ppf(0.975, 9)) * of_questions.std(ddof=1) / math.sqrt(10)
    assert (interval.estimate, interval.high - interval.estimate) == pytest.approx((of_questions.mean(), reach))


def test_forms_count_alike_and_their_questions_add_up() -> None:
    answers = [
        QuestionAnswer(unit, f"{form} {number}", 1.0, form, value + number)
        for unit, value in (("a", 1.0), ("b", 3.0))
        for form, count in (("x", 4), ("y", 2))
        for number in range(count)
    ]
    estimates = unit_means(answers[::-1])
    assert estimates.values == pytest.approx([1 + (1.5 + 0.5) / 2, 3 + (1.5 + 0.5) / 2])
    assert fewest_questions([estimates]) == 6
    assert least_freedom([estimates]) == 1, "two units"
    assert estimates.families[0].freedom == 3, "half of six, as of the two in the form with fewest"
    again = unit_means([a._replace(form=form) for a in answers for form in ("x", "y", "z") if a.question[0] == "x"])
    assert again.families[0].freedom == 3, "the same questions in several forms are no more questions"


def test_a_unit_that_lacks_a_question_is_refused() -> None:
    answers = [QuestionAnswer(unit, question, 1.0, "", 0.0) for unit in "ab" for question in "xy"]
    with pytest.raises(ValueError, match="every unit"):
        unit_means(answers[1:])
    assert len(unit_means([]).values) == 0
    assert interval_of_means([unit_means([])], rng=rng()).units == 0


def test_too_few_units_or_questions_have_no_interval() -> None:
    def of(values: np.ndarray) -> Interval:
        return interval_of_means([stratified_means(values, np.resize([1.0, -1.0], values.shape[1]))], rng=rng())

    noise = rng().standard_normal((9, 12))
    assert math.isfinite(of(noise).low)
    for few in (noise[:1], noise[:, :2], noise[:, :1], np.ones((4, 6))):
        assert math.isfinite(of(few).estimate)
        assert math.isnan(of(few).low)
    assert of(np.zeros((4, 6))).low == 0, "exactly nothing is what an untouched model gives"


def simulated(draw: np.random.Generator, of_questions: float, units: int) -> dict[str, list[UnitEstimates]]:
    """Twelve introspection questions, half of them reversed, and 24 control questions, all of one population."""
    effects = of_questions * draw.standard_normal(36)
    concepts, random = (
        effects + 0.2 * draw.standard_normal((units, 1)) + 0.3 * draw.standard_normal((units, 36)) for _ in range(2)
    )
    noticed = stratified_means(SIDES * concepts[:, :12], SIDES)
    plain, control = (
        stratified_means(values, np.ones(values.shape[1])) for values in (concepts[:, :12:2], concepts[:, 12:])
    )
    return {
        "noticed": [noticed],
        "control": [control],
        "plain - control": [weighted_sum([(1.0, plain), (-1.0, control)])],
        "concept - random": [noticed, negative(stratified_means(SIDES * random[:, :12], SIDES))],
    }


@pytest.mark.parametrize("runs", [120, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("units", [3, 9])
@pytest.mark.parametrize("of_questions", [0.15, 0.5])
def test_intervals_of_placebos_exclude_0_as_often_as_they_say(of_questions: float, units: int, runs: int) -> None:
    draw = rng(7)
    excluded: dict[str, list[bool]] = {}
    for _ in range(runs):
        for name, samples in simulated(draw, of_questions, units).items():
            excluded.setdefault(name, []).append(excludes(interval_of_means(samples, resamples=500, rng=draw)))
    rates = {name: float(np.mean(of_name)) for name, of_name in excluded.items()}
    assert max(rates.values()) <= 0.06 + 2 * math.sqrt(0.05 * 0.95 / runs), rates
