"""Published rows beside what a run measured on the same document, concept and kind of question."""

import math

import pytest

from introbench.analysis.noticed import ReadTrial
from introbench.analysis.published_results import beside_published, model, published_results, source
from introbench.prompts import data
from introbench.records.arm import CONCEPT, FINETUNE, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

PLAN = Plan(["info", "none"], ["introspection", "always_no"])


def trial(
    concept: str, family: str, yes: tuple[float, float], *, arm: str = "concept", is_reversed: bool = False
) -> ReadTrial:
    question = QuestionFactors("info", family, "detect", "yes-no", "words", is_reversed)
    arms = {"sham": Arm(SHAM, 0), arm: Arm(CONCEPT if arm == "concept" else FINETUNE, 1)}
    exact = {"p_yes": dict(zip(arms, yes, strict=True)), "p_no": dict.fromkeys(arms, 0.5)}
    return TrialFactors(question, concept, arms, PLAN), exact


def test_the_figures_are_probabilities_of_known_documents_and_concepts() -> None:
    assert source() == "arXiv 2602.20031"
    assert data.known_settings(model())
    for row in [*published_results("introspection"), *published_results("model_swap")]:
        assert row.document in data.documents()
        assert all(0 <= share <= 1 for share in (*row.yes, *row.no))
    assert {row.injected for row in published_results("introspection")} <= set(data.concepts())
    first = published_results("introspection")[0]
    assert first.yes == pytest.approx((0.0015, 0.00522))


def test_a_row_is_measured_on_plain_questions_of_its_concept_and_document() -> None:
    trials = [
        trial("cats", "introspection", (0.1, 0.2)),
        trial("cats", "introspection", (0.3, 0.6)),
        trial("cats", "introspection", (0.9, 0.9), is_reversed=True),
        trial("bread", "always_no", (0.9, 0.9)),
    ]
    cats, bread = beside_published("introspection", trials)
    assert (cats.document, cats.injected) == ("info", "cats")
    assert cats.measured_yes == pytest.approx((0.2, 0.4))
    assert cats.measured_no == pytest.approx((0.5, 0.5))
    assert bread.injected == "bread"
    assert math.isnan(bread.measured_yes[0])


def test_without_a_concept_a_row_is_of_its_arm() -> None:
    rows = beside_published("model_swap", [trial("", "introspection", (0.1, 0.2), arm="finetune")])
    measured = {row.injected: row.measured_yes for row in rows}
    assert measured["finetune"] == pytest.approx((0.1, 0.2))
    assert math.isnan(measured["contrast +"][0])
