"""The lens of a model swap's arms: gaps and means over formats and questions, with numbers worked out by hand."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from introbench.analysis.arm_lens import arm_lenses, exact_lens, lens_peak
from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.logit_lens import concept_means
from introbench.analysis.noticed import ScoredTrial
from introbench.records.arm import CONTRAST, FINETUNE, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

ARMS = {
    "sham": Arm(SHAM, 0),
    "tuned": Arm(FINETUNE, 1),
    "contrast": Arm(CONTRAST, 2, 1),
    "random 1": Arm(RANDOM, 3, 1),
    "random 2": Arm(RANDOM, 4, 2),
}
LENS = {
    "sham": {"yes": (0.2, 0.2), "no": (0.4, 0.1)},
    "tuned": {"yes": (0.2, 0.4), "no": (0.4, 0.1)},
    "contrast": {"yes": (0.2, 0.1), "no": (0.1, 0.1)},
    "random 1": {"yes": (0.4, 0.2), "no": (0.4, 0.1)},
    "random 2": {"yes": (0.2, 0.4), "no": (0.4, 0.1)},
}
LOG_2 = math.log(2)


def factors(
    question: str = "a", answer_format: str = "yes-no", *, document: str = "info", is_reversed: bool = False
) -> TrialFactors:
    asked = QuestionFactors(document, "introspection", question, answer_format, "words", is_reversed)
    return TrialFactors(asked, "", ARMS, Plan(["none", "info"], ["introspection"]), answers={"forms": {}, "lens": True})


def readings(*lost: str) -> dict[str, ArmReading]:
    lens = {
        arm: {answer: list(map(math.log, by_layer)) for answer, by_layer in answers.items()}
        for arm, answers in LENS.items()
    }
    return {arm: ArmReading(arm, arm, {}, lens=lens[arm]) for arm in ARMS if arm not in lost}


@pytest.mark.parametrize(("is_reversed", "side"), [(False, 1), (True, -1)])
def test_every_arm_is_held_against_the_sham_after_every_block(is_reversed: bool, side: int) -> None:
    exact = exact_lens(factors(is_reversed=is_reversed), readings())
    assert list(exact["gaps"]) == ["tuned", "contrast", "random"]
    assert exact["gaps"]["tuned"] == pytest.approx([0, side * LOG_2])
    assert exact["gaps"]["contrast"] == pytest.approx([side * 2 * LOG_2, -side * LOG_2])
    assert exact["gaps"]["random"] == pytest.approx([side * LOG_2 / 2, side * LOG_2 / 2]), "the mean of both"
    assert list(exact["p_yes"]) == ["sham", "tuned", "contrast", "random"]
    assert exact["p_yes"]["sham"] == pytest.approx([0.2, 0.2])
    assert exact["p_yes"]["random"] == pytest.approx([0.3, 0.3])


def test_an_arm_that_is_not_finite_is_left_out() -> None:
    exact = exact_lens(factors(), readings("tuned", "random 2"))
    assert list(exact["gaps"]) == ["contrast"], "a mean over fewer random vectors would be another number"
    assert list(exact["p_yes"]) == ["sham", "contrast"]


def scored(of: TrialFactors, gaps: Mapping[str, list[float]]) -> ScoredTrial:
    exact: dict[str, Any] = {
        "lens": {"gaps": dict(gaps), "p_yes": {"sham": [0.1, 0.2], **{arm: [0.3, 0.4] for arm in gaps}}}
    }
    return of.to_json(), exact


def test_formats_are_averaged_within_a_question_and_questions_weigh_alike() -> None:
    trials = [
        scored(factors("a"), {"tuned": [1.0, 3.0], "random": [0.5, 0.5]}),
        scored(factors("a", "0-1"), {"tuned": [2.0, 1.0], "random": [0.25, 0.75]}),
        scored(factors("b", is_reversed=True), {"tuned": [4.5, 0.0], "random": [0.125, 0.125]}),
        scored(factors("b", document="none"), {"tuned": [9.0, 9.0], "random": [0.0, 0.0]}),
    ]
    lenses = arm_lenses(trials)
    assert list(lenses) == [(arm, document) for document in ("info", "none") for arm in ("tuned", "contrast", "random")]
    gaps, random, curves, missing = concept_means(lenses["tuned", "info"])
    assert gaps.tolist() == [[1.5, 2.0], [4.5, 0.0]]
    assert random.tolist() == [[0.375, 0.625], [0.125, 0.125]]
    assert curves["P(yes) sham"].tolist() == [0.1, 0.2], "of the question that is not reversed"
    assert curves["P(yes) tuned"].tolist() == [0.3, 0.4]
    assert missing == 0
    top = lens_peak(("tuned", "info"), lenses["tuned", "info"])
    assert (top.document, top.layer.estimate, top.gap.estimate) == ("tuned | info", 0, 3.0)
    assert (top.final.estimate, top.suppression.estimate, top.gap.units) == (1.0, 2.0, 2)
    assert arm_lenses([*trials[::-1], trials[0]]).keys() == lenses.keys()
    assert lens_peak(("tuned", "info"), arm_lenses([*trials[::-1], trials[0]])["tuned", "info"]) == top


def test_a_question_of_which_a_trial_was_lost_is_counted_and_left_out() -> None:
    lost = factors("b").to_json(), {}
    whole = scored(factors("b", "0-1"), {"tuned": [7.0, 7.0]})
    gaps, random, _, missing = concept_means(
        arm_lenses([scored(factors("a"), {"tuned": [1.0, 3.0]}), lost, whole])["tuned", "info"]
    )
    assert gaps.tolist() == [[1.0, 3.0]]
    assert [[math.isnan(value) for value in row] for row in random.tolist()] == [[True, True]], "none was run"
    assert missing == 1


def test_trials_that_were_not_to_be_read_have_no_lens() -> None:
    json = factors().to_json() | {"answers": {"forms": {}, "lens": False}}
    assert arm_lenses([(json, {})]) == {}
    assert arm_lenses([]) == {}
