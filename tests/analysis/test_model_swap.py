"""The model swap's arms: shifts, means over questions, and contrasts, with numbers worked out by hand."""

import math

import pytest

from introbench.analysis.model_swap import (
    ArmTrial,
    SwapRun,
    arm_contrasts,
    arm_shifts,
    arm_trial,
    compared_arms,
    exact_numbers,
    shifts_toward_yes,
)
from introbench.analysis.noticed import MATCHED
from introbench.records.arm import CONTRAST, FINETUNE, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

ARMS = {
    "sham": Arm(SHAM, 0),
    "tuned": Arm(FINETUNE, 1),
    "contrast": Arm(CONTRAST, 2, 1),
    "random 1": Arm(RANDOM, 3, 1),
    "random 2": Arm(RANDOM, 4, 2),
}
LOG_ODDS = {"sham": 0.5, "tuned": 2.0, "contrast": -0.5, "random 1": 1.0, "random 2": 0.75}
PLAN = Plan(["info"], ["introspection", "always_no", "always_yes"])


def trial(family: str, item: str, shift: float, side: float = 1.0, answer_format: str = "yes-no") -> ArmTrial:
    return ArmTrial("info", family, item, answer_format, side, {"tuned": shift})


def test_random_vectors_are_compared_as_one_by_their_mean() -> None:
    assert compared_arms(ARMS) == ["tuned", "contrast", "random"]
    assert compared_arms({name: ARMS[name] for name in ("sham", "tuned")}) == ["tuned"]
    assert shifts_toward_yes(ARMS, LOG_ODDS) == {"tuned": 1.5, "contrast": -1.0, "random": 0.375}


def test_an_arm_that_is_not_finite_loses_itself_alone() -> None:
    finite = {name: value for name, value in LOG_ODDS.items() if name not in ("tuned", "random 2")}
    shifts = shifts_toward_yes(ARMS, finite)
    assert shifts["contrast"] == -1.0
    assert math.isnan(shifts["tuned"])
    assert math.isnan(shifts["random"]), "a mean over fewer vectors would be another number"


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_score_holds_what_was_noticed_and_gives_the_shifts_back(is_reversed: bool) -> None:
    question = QuestionFactors("info", "introspection", "detect", "yes-no", "words", is_reversed)
    exact = exact_numbers(question, {"tuned": 1.5})
    assert exact == {"shifts": {"tuned": -1.5 if is_reversed else 1.5}}
    read = arm_trial((TrialFactors(question, "", ARMS, PLAN).to_json(), exact))
    assert read == ArmTrial("info", "introspection", "detect", "yes-no", question.side, {"tuned": 1.5})
    assert read.noticed("tuned") == exact["shifts"]["tuned"]
    assert math.isnan(read.noticed("contrast"))


def test_formats_are_averaged_within_a_question_and_questions_weigh_alike() -> None:
    trials = [
        trial("introspection", "a", 1.0),
        trial("introspection", "a", 2.0, answer_format="0-1"),
        trial("introspection", "b", -4.0, side=-1.0),
    ]
    shifts = {result.name: result for result in arm_shifts(trials, ["tuned"], PLAN)}
    assert shifts["tuned: introspection"].interval.estimate == pytest.approx((1.5 + 4.0) / 2)
    assert shifts["tuned: introspection"].pairs == 2
    assert math.isnan(shifts["tuned: always_no"].interval.estimate)


def test_matched_controls_are_taken_from_a_question_and_added_beside_a_reversed_one() -> None:
    """Two plain questions and a reversed one: 2/3 of the shift of always_no is taken away, 1/3 of always_yes added."""
    trials = [
        trial("introspection", "a", 3.0),
        trial("introspection", "b", 1.0),
        trial("introspection", "c", -5.0, side=-1.0),
        *(trial("always_no", item, shift) for item, shift in (("d", 0.5), ("e", 1.0))),
        *(trial("always_yes", item, shift) for item, shift in (("f", -0.5), ("g", 2.0))),
    ]
    contrasts = {result.name: result.interval.estimate for result in arm_contrasts(trials, ["tuned"], PLAN)}
    assert contrasts[f"tuned: {MATCHED}"] == pytest.approx(3.0 - 2 / 3 * 0.75 + 1 / 3 * 0.75)
    assert contrasts["tuned: introspection - always_no"] == pytest.approx(2.0 - 0.75), "beside the two plain ones"
    assert contrasts["tuned: introspection - always_yes"] == pytest.approx(5.0 + 0.75), "beside the reversed one"
    assert arm_contrasts(trials, ["tuned"], Plan(["info"], ["always_no", "always_yes"])) == []


def test_a_contrast_uses_the_answer_formats_of_both_families() -> None:
    trials = [
        trial("introspection", "a", 1.0),
        trial("introspection", "a", 9.0, answer_format="0-1"),
        trial("introspection", "b", 2.0),
        trial("always_no", "c", 0.25),
        trial("always_no", "d", 0.75),
    ]
    (contrast,) = arm_contrasts(trials, ["tuned"], Plan(["info"], ["introspection", "always_no"]))
    assert contrast.interval.estimate == pytest.approx(1.5 - 0.5)


def test_a_run_compares_its_own_arms_under_its_own_plan() -> None:
    scored = []
    for family, shift in (("introspection", 1.0), ("always_no", 0.25)):
        for item in ("a", "b"):
            question = QuestionFactors("info", family, f"{family} {item}", "yes-no", "words")
            factors = TrialFactors(question, "", ARMS, Plan(["info"], ["introspection", "always_no"]))
            scored.append(
                (factors.to_json(), exact_numbers(question, {"tuned": shift, "contrast": 0.0, "random": 0.0}))
            )
    run = SwapRun(scored)
    contrasts = {result.key: result.interval.estimate for result in run.contrasts()}
    assert contrasts == {
        "tuned: introspection - always_no | info": 0.75,
        "contrast: introspection - always_no | info": 0.0,
        "random: introspection - always_no | info": 0.0,
    }
    assert [result.key for result in run.shifts()][:2] == ["tuned: introspection | info", "tuned: always_no | info"]
