"""The score of an identification trial, from probabilities that are written by hand."""

import math

import pytest
from inspect_ai.scorer import Score
from sample_states import arm_record, scored, trial_state

from introbench.analysis.identification import NOTHING
from introbench.records.arm import CONCEPT, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.scorers.identification import identified

OPTIONS = {"1": "bread", "2": "cats", "3": "love"}
SHAM_ANSWERS = {"1": 0.1, "2": 0.1, "3": 0.2}
CONCEPT_ANSWERS = {"1": 0.4, "2": 0.3, "3": 0.1}


def score_of(options: dict[str, str], *, lost: str = "") -> Score:
    """The score of a trial about cats, which were read after two blocks."""
    question = QuestionFactors("info", "list", "which", options=options)
    factors = TrialFactors(
        question, "cats", {"sham": Arm(SHAM, 0), "concept": Arm(CONCEPT, 1)}, Plan(["info"], ["list"])
    )
    records = []
    for arm, answers in (("sham", SHAM_ANSWERS), ("concept", CONCEPT_ANSWERS)):
        lens = {label: [-math.log(4), math.log(probability)] for label, probability in answers.items()}
        records.append(arm_record(arm, None if arm == lost else answers, lens))
    return scored(identified(), trial_state(factors, records))


def test_probabilities_are_among_the_options() -> None:
    score = score_of(OPTIONS)
    assert isinstance(score.value, dict)
    assert score.value["p"] == round(0.3 / 0.8, 4)
    assert score.value["p_sham"] == round(0.1 / 0.4, 4)
    assert score.value["rank"] == 2
    assert score.value["mass"] == 0.8
    assert math.isnan(score.value["p_nothing"])
    assert score.answer == "bread"


def test_the_metadata_hold_every_arm_and_every_block() -> None:
    exact = score_of(OPTIONS).metadata or {}
    assert exact["arms"]["concept"] == pytest.approx({"bread": 0.5, "cats": 0.375, "love": 0.125})
    assert exact["lens"]["cats"] == pytest.approx([1 / 3, 0.375]), "after each block, among the options"
    assert exact["own"]["sham"] == pytest.approx([-math.log(4), math.log(0.1)]), "of the concept's label alone"


def test_nothing_is_an_option_like_others() -> None:
    score = score_of({"1": NOTHING, "2": "cats", "3": "love"})
    assert isinstance(score.value, dict)
    assert score.value["p_nothing"] == 0.5
    assert score.answer == "nothing"


@pytest.mark.parametrize("lost", ["sham", "concept"])
def test_without_finite_numbers_there_is_no_score(lost: str) -> None:
    score = score_of(OPTIONS, lost=lost)
    assert score.reason == "not_finite"
    assert isinstance(score.value, dict)
    assert all(isinstance(value, str) or math.isnan(value) for value in score.value.values())
