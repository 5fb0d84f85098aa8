"""Mean probabilities: over the trials of each document, family and side that have finite numbers."""

import math
from typing import Any

import pytest

from introbench.analysis.noticed import ReadTrial
from introbench.analysis.probabilities import mean_probabilities
from introbench.records.arm import CONCEPT, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

ARMS = {"sham": Arm(SHAM, 0), "concept": Arm(CONCEPT, 1), "random 1": Arm(RANDOM, 2, 1)}
PLAN = Plan(["lorem", "info"], ["introspection", "always_no"])


def trial(document: str, family: str, yes: tuple[float, float, float], *, is_reversed: bool = False) -> ReadTrial:
    question = QuestionFactors(document, family, "detect", "yes-no", "words", is_reversed)
    exact: dict[str, Any] = {"p_yes": dict(zip(ARMS, yes, strict=True))}
    exact["p_no"] = {arm: 1 - value for arm, value in exact["p_yes"].items()}
    return TrialFactors(question, "cats", ARMS, PLAN), exact


def test_the_mean_of_each_kind_of_question_with_the_reference_document_first() -> None:
    means = mean_probabilities(
        [
            trial("lorem", "always_no", (0.1, 0.2, 0.3)),
            trial("info", "introspection", (0.1, 0.2, 0.3)),
            trial("info", "introspection", (0.3, 0.6, 0.3)),
            trial("info", "introspection", (0.5, 0.4, 0.3), is_reversed=True),
        ]
    )
    assert [(m.document, m.family, m.is_reversed, m.trials) for m in means] == [
        ("info", "introspection", False, 2),
        ("info", "introspection", True, 1),
        ("lorem", "always_no", False, 1),
    ]
    assert means[0].yes == pytest.approx((0.2, 0.4))
    assert means[0].no == pytest.approx((0.8, 0.6))
    assert means[1].yes == pytest.approx((0.5, 0.4))


def test_another_arm_may_be_meant() -> None:
    (mean,) = mean_probabilities([trial("info", "always_no", (0.1, 0.2, 0.3))], "random 1")
    assert mean.yes == pytest.approx((0.1, 0.3))


def test_trials_without_finite_numbers_are_left_out() -> None:
    lost = trial("info", "always_no", (0.1, math.nan, 0.3))
    empty = (trial("info", "always_no", (0.1, 0.2, 0.3))[0], {})
    assert mean_probabilities([lost, empty]) == []
    assert mean_probabilities([]) == []
