"""The score of a trial of the model swap, from probabilities that are written by hand."""

import math

import pytest
from inspect_ai.scorer import Score
from sample_states import arm_record, scored, trial_state

from introbench.records.arm import CONTRAST, FINETUNE, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.scorers.model_swap import arm_shifts

ARMS = {
    "sham": Arm(SHAM, 0),
    "tuned": Arm(FINETUNE, 1),
    "contrast": Arm(CONTRAST, 2, 1),
    "random 1": Arm(RANDOM, 3, 1),
    "random 2": Arm(RANDOM, 4, 2),
}
ANSWERS = {
    "sham": {"yes": 0.2, "no": 0.4},
    "tuned": {"yes": 0.4, "no": 0.2},
    "contrast": {"yes": 0.2, "no": 0.2},
    "random 1": {"yes": 0.4, "no": 0.4},
    "random 2": {"yes": 0.2, "no": 0.4},
}
LOG_2 = math.log(2)


def score_of(*, is_reversed: bool = False, lost: str = "", lens: bool = False) -> Score:
    """The score of a trial, of which an arm may have no finite numbers; after the first block every answer has 1/4."""
    question = QuestionFactors("info", "introspection", "detect", "yes-no", "words", is_reversed)
    factors = TrialFactors(question, "", ARMS, Plan(["info"], ["introspection"]))
    by_layer = {
        name: {answer: [math.log(0.25), math.log(share)] for answer, share in answers.items()}
        for name, answers in ANSWERS.items()
    }
    records = [
        arm_record(name, None if name == lost else ANSWERS[name], by_layer[name] if lens else None) for name in ARMS
    ]
    return scored(arm_shifts(), trial_state(factors, records))


@pytest.mark.parametrize(("is_reversed", "side"), [(False, 1), (True, -1)])
def test_every_arm_is_held_against_the_sham_and_random_vectors_are_one(is_reversed: bool, side: int) -> None:
    score = score_of(is_reversed=is_reversed)
    assert score.value == {
        "document": "info",
        "family": "introspection",
        "tuned": round(side * 2 * LOG_2, 3),
        "contrast": round(side * LOG_2, 3),
        "random": round(side * LOG_2 / 2, 3),
    }
    assert score.answer == "yes"
    exact = score.metadata or {}
    assert exact["shifts"] == pytest.approx(
        {"tuned": side * 2 * LOG_2, "contrast": side * LOG_2, "random": side * LOG_2 / 2}, abs=1e-12
    )
    assert exact["log_odds"]["sham"] == pytest.approx(-LOG_2), "toward yes, whatever a yes says"
    assert (score.explanation or "").startswith("yes 20.000% -> 40.000% (+20.000%) under tuned")


def test_a_lost_arm_is_nan_and_a_lost_sham_loses_all() -> None:
    score = score_of(lost="contrast")
    assert isinstance(score.value, dict)
    assert math.isnan(score.value["contrast"])
    assert score.value["tuned"] == round(2 * LOG_2, 3)
    nothing = score_of(lost="sham")
    assert isinstance(nothing.value, dict)
    assert list(nothing.value) == ["document", "family", "tuned", "contrast", "random"]
    assert all(math.isnan(nothing.value[arm]) for arm in ("tuned", "contrast", "random"))
    assert nothing.reason == "not_finite"


@pytest.mark.parametrize(("is_reversed", "side"), [(False, 1), (True, -1)])
def test_what_is_read_after_every_block_ends_in_the_answer(is_reversed: bool, side: int) -> None:
    score = score_of(is_reversed=is_reversed, lens=True)
    exact = score.metadata or {}
    for arm, shift in {"tuned": 2 * LOG_2, "contrast": LOG_2, "random": LOG_2 / 2}.items():
        assert exact["lens"]["gaps"][arm] == pytest.approx([0, side * shift], abs=2e-7)
        assert exact["lens"]["gaps"][arm][-1] == pytest.approx(exact["shifts"][arm], abs=2e-7)
    assert exact["lens"]["p_yes"]["tuned"] == pytest.approx([0.25, 0.4])
    first, arms, layers = (score.explanation or "").split("\n\n")
    assert first.startswith("yes ")
    assert len(arms.splitlines()) == 2 + len(ARMS)
    assert "| layer | P(yes) sham | P(yes) tuned | P(yes) contrast | log-odds sham |" in layers
    assert len(layers.splitlines()) == 2 + 2
    assert "lens" not in (score_of().metadata or {})
