"""The steps of a verdict's ladder: what the evidence says to each, and what would settle those that it leaves open."""

import math

import pytest
from verdict_evidence import (
    INWARD,
    LARGE,
    LITTLE,
    NEGATIVE,
    NONE,
    NOT_SALIENT,
    POINT,
    WIDE,
    evidence,
    interval,
)

from introbench.analysis.settlement import Settlement
from introbench.analysis.verdict import (
    MARGIN,
    MOSTLY_NEAR,
    Step,
    StepAnswer,
    StepName,
    Verdict,
    verdict,
)
from introbench.stats.intervals import NOT_MEASURED, Interval


def step_of(drawn: Verdict, name: StepName) -> Step:
    (step,) = [step for step in drawn.steps if step.name == name]
    return step


Y, N, O = StepAnswer.YES, StepAnswer.NO, StepAnswer.OPEN  # noqa: E741
SHOWN = [(LARGE, Y), (LITTLE, StepAnswer.YES_LITTLE), (NEGATIVE, N), (NONE, StepAnswer.LESS), (WIDE, O), (POINT, O)]


@pytest.mark.parametrize(("measured", "answer"), SHOWN)
@pytest.mark.parametrize("name", ["excess", "beyond_random", "beyond_salience", "document"])
def test_whether_an_effect_is_shown(name: str, measured: Interval, answer: StepAnswer) -> None:
    drawn = verdict(evidence(**{**INWARD, name: measured}))
    assert step_of(drawn, StepName(name.replace("_", " "))).answer is answer


@pytest.mark.parametrize("name", ["random", "salience"])
@pytest.mark.parametrize(
    ("excess", "other", "beyond_half", "answer"),
    [
        (LARGE, LARGE, LARGE, StepAnswer.HALF),
        (LARGE, LARGE, NEGATIVE, StepAnswer.LESS_THAN_HALF),
        (LARGE, NEGATIVE, NEGATIVE, StepAnswer.LESS_THAN_HALF),
        (LARGE, LARGE, WIDE, O),
        (LARGE, NONE, LARGE, O),
        (LARGE, POINT, POINT, O),
        *((NONE, other, LARGE, answer) for other, answer in SHOWN),
    ],
)
def test_whether_something_else_moves_half_as_much(
    name: str, excess: Interval, other: Interval, beyond_half: Interval, answer: StepAnswer
) -> None:
    numbers = {**INWARD, "excess": excess, name: other, f"{name}_beyond_half": beyond_half}
    assert step_of(verdict(evidence(**numbers)), StepName(name)).answer is answer


@pytest.mark.parametrize(
    ("near", "beyond_half", "answer"),
    [
        (0.7, NEGATIVE, O),
        (0.7, LARGE, StepAnswer.HALF),
        (math.nan, NEGATIVE, O),
        (0.8, NEGATIVE, StepAnswer.LESS_THAN_HALF),
    ],
)
def test_salience_is_less_than_half_only_where_the_curve_is_known(
    near: float, beyond_half: Interval, answer: StepAnswer
) -> None:
    numbers = {**INWARD, "salience": LARGE, "salience_beyond_half": beyond_half, "salience_near": near}
    assert step_of(verdict(evidence(**numbers)), StepName.SALIENCE).answer is answer


@pytest.mark.parametrize(
    ("name", "numbers", "answer"),
    [
        (StepName.LIVE, {"live": 5}, Y),
        (StepName.LIVE, {"live": 4}, N),
        (StepName.LIVE, {"live": 0, "tested": 0}, O),
        (StepName.NEAR, {"near": MOSTLY_NEAR}, Y),
        (StepName.NEAR, {"near": 0.7}, N),
        (StepName.NEAR, {"near": math.nan}, O),
        (StepName.DOSE, {"dose_ratio": 1.04}, Y),
        (StepName.DOSE, {"dose_ratio": 0.9}, N),
        (StepName.DOSE, {"dose_ratio": math.nan}, O),
        (StepName.BIAS, {"bias": LARGE}, Y),
        (StepName.BIAS, {"bias": NEGATIVE}, Y),
        (StepName.BIAS, {"bias": LITTLE}, StepAnswer.LESS),
        (StepName.BIAS, {"bias": WIDE}, O),
        (StepName.BIAS, {"bias": NOT_MEASURED}, O),
        (StepName.FLATTENING, {"flattening": interval(0.3, 0.5)}, Y),
        (StepName.FLATTENING, {"flattening": interval(-0.5, -0.3)}, Y),
        (StepName.FLATTENING, {"flattening": interval(0.0, 0.3)}, O),
        (StepName.FLATTENING, {"flattening": interval(0.0, 0.3), "baseline": 1.0}, StepAnswer.LESS),
    ],
)
def test_other_steps(name: StepName, numbers: dict[str, object], answer: StepAnswer) -> None:
    assert step_of(verdict(evidence(**numbers)), name).answer is answer


def test_steps_hold_the_numbers_that_they_rest_on() -> None:
    given = evidence(**INWARD, near=0.8)
    drawn = verdict(given, margin=0.7)
    numbers = {step.name: step.numbers for step in drawn.steps if step.numbers}
    assert numbers == {
        StepName.LIVE: {"live": 9, "tested": 9},
        StepName.EXCESS: {"margin": 0.7},
        StepName.NEAR: {"near": 0.8},
        StepName.DOSE: {"dose_ratio": 1.0},
        StepName.SALIENCE: {"salience_near": 1.0},
        StepName.FLATTENING: {"baseline": 2.0},
    }
    intervals = [(name, interval) for step in drawn.steps for name, interval in step.intervals.items()]
    assert all(interval is getattr(given, name) for name, interval in intervals)
    assert len(intervals) == 10, "every interval of the evidence stands in one step"
    without = verdict(evidence(**{**INWARD, "excess": NONE}))
    assert [*step_of(without, StepName.RANDOM).intervals] == ["random"], "half of nothing is not shown"


# What would settle open steps


def test_only_open_steps_have_a_settlement() -> None:
    drawn = verdict(evidence(**{**INWARD, "beyond_random": WIDE, "document": NOT_MEASURED}))
    assert [step.name for step in drawn.open_steps] == [StepName.BEYOND_RANDOM, StepName.DOCUMENT]
    settled = [step for step in drawn.steps if step not in drawn.open_steps]
    assert all(step.settlement is None for step in settled)
    wide, document = (step.settlement for step in drawn.open_steps)
    assert wide is not None
    assert wide.measured
    assert document == Settlement(measured=False)


def test_what_has_no_interval_to_narrow_is_not_measured() -> None:
    drawn = verdict(evidence(**NOT_SALIENT, near=math.nan, dose_ratio=math.nan, live=0, tested=0))
    assert [step.name for step in drawn.open_steps] == [StepName.LIVE, StepName.NEAR, StepName.DOSE]
    assert all(step.settlement == Settlement() for step in drawn.open_steps)


def test_steps_about_half_are_settled_by_the_interval_that_they_rest_on() -> None:
    for excess, name, below, level in ((LARGE, "random_beyond_half", 0.0, 0.9), (NONE, "random", MARGIN, 0.95)):
        bound = step_of(verdict(evidence(excess=excess)), StepName.RANDOM).bound
        assert bound is not None
        assert (bound.interval, bound.below, bound.level) == (name, below, level)
