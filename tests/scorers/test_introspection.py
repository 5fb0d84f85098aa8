"""The score of an introspection trial, from probabilities that are written by hand."""

import math

import pytest
from inspect_ai.scorer import Score
from sample_states import arm_record, scored, trial_state

from introbench.records.arm import ACTIVE, CONCEPT, IMPACT, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.scorers.introspection import yes_shift

ARMS = {
    "sham": Arm(SHAM, 0),
    "concept": Arm(CONCEPT, 1),
    "random 1": Arm(RANDOM, 2, 1, matched=IMPACT),
    "random 2": Arm(RANDOM, 3, 2, matched=IMPACT),
    "concept active": Arm(CONCEPT, 4, steering=ACTIVE),
}
ANSWERS = {
    "sham": {"yes": 0.2, "no": 0.4},
    "concept": {"yes": 0.4, "no": 0.2},
    "random 1": {"yes": 0.4, "no": 0.4},
    "random 2": {"yes": 0.1, "no": 0.4},
    "concept active": {"yes": 0.8, "no": 0.1},
}
LOG_2 = math.log(2)


def score_of(*, is_reversed: bool = False, lost: str = "", active: bool = False) -> Score:
    """The score of a trial, of which an arm may have no finite numbers."""
    arms = {name: arm for name, arm in ARMS.items() if active or arm.steering != ACTIVE}
    question = QuestionFactors("info", "introspection", "detect", "yes-no", "words", is_reversed)
    factors = TrialFactors(question, "cats", arms, Plan(["info"], ["introspection"]))
    records = [
        arm_record(name, None if name == lost else ANSWERS[name], live=True if name == "concept" else None)
        for name in arms
    ]
    return scored(yes_shift(), trial_state(factors, records))


@pytest.mark.parametrize(("is_reversed", "side"), [(False, 1), (True, -1)])
def test_the_value_is_rounded_and_signed_so_that_noticed_is_positive(is_reversed: bool, side: int) -> None:
    score = score_of(is_reversed=is_reversed)
    assert score.value == {
        "document": "info",
        "family": "introspection",
        "shift": round(side * 2 * LOG_2, 3),
        "random": round(side * (1 - 1) * LOG_2 / 2, 3),
        "p_yes": 0.4,
        "p_yes_sham": 0.2,
        "mass": 0.6,
    }
    assert score.answer == "yes"
    assert ("toward no, which here says" in (score.explanation or "")) == is_reversed


def test_the_metadata_hold_exact_numbers_of_every_arm() -> None:
    exact = score_of().metadata or {}
    assert exact["shift"] == pytest.approx(2 * LOG_2, abs=1e-12)
    assert exact["random"] == pytest.approx({"vector of random 1": LOG_2, "vector of random 2": -LOG_2}, abs=1e-12)
    assert exact["log_odds"] == pytest.approx({"sham": -LOG_2, "concept": LOG_2, "random 1": 0, "random 2": -2 * LOG_2})
    assert exact["p_no"] == pytest.approx({"sham": 0.4, "concept": 0.2, "random 1": 0.4, "random 2": 0.4})
    assert exact["live"] is True
    assert exact["dose"] == dict.fromkeys(("sham", "concept", "random 1", "random 2"), 0.25)


def test_what_is_on_in_the_answer_stands_beside_the_runs_own_injections() -> None:
    score = score_of(active=True)
    assert isinstance(score.value, dict)
    assert score.value["active"] == round(4 * LOG_2, 3)
    assert score.value["shift"] == round(2 * LOG_2, 3)
    assert (score.metadata or {})["active"]["shift"] == pytest.approx(4 * LOG_2)


@pytest.mark.parametrize("lost", ["sham", "concept"])
def test_without_the_sham_or_the_concept_there_is_no_score(lost: str) -> None:
    score = score_of(lost=lost)
    assert isinstance(score.value, dict)
    numbers = {name: value for name, value in score.value.items() if name not in ("document", "family")}
    assert len(numbers) == 5
    assert all(isinstance(value, float) and math.isnan(value) for value in numbers.values())
    assert score.reason == "not_finite"
    assert f"under: {lost} (vector of {lost}, strength 8)." in (score.explanation or "")


def test_a_lost_random_vector_leaves_the_concepts_shift() -> None:
    score = score_of(lost="random 2")
    assert isinstance(score.value, dict)
    assert score.value["shift"] == round(2 * LOG_2, 3)
    assert math.isnan(score.value["random"])
