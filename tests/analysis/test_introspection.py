"""A run of the introspection task as one object: a model whose line and excess are known exactly."""

import math
from typing import Any

import pytest

from introbench.analysis.excess import CONCEPTS, RANDOM
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.verdict import MARGIN, verdict
from introbench.records.arm import CONCEPT, IMPACT, SHAM, Arm
from introbench.records.arm import RANDOM as RANDOM_ARM
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

ARMS = {"sham": Arm(SHAM, 0), "concept": Arm(CONCEPT, 1), "random 1": Arm(RANDOM_ARM, 2, 1, matched=IMPACT)}
PLAN = Plan(["none", "info"], ["introspection", "always_no", "always_yes"], margin=0.25)
BASELINES = {
    "introspection": {"detect": -1.0, "sense": 0.5, "no thought": 2.0},
    "always_no": {"fish fly": -3.0, "stones sing": -2.0, "snow is hot": -1.0},
    "always_yes": {"water is wet": 1.0, "fire is hot": 2.0, "birds fly": 3.0},
}
EXCESS = {"info": 0.75, "none": 0.125}

Scored = list[tuple[dict[str, Any], dict[str, Any]]]


def scored_trials(plan: Plan = PLAN) -> Scored:
    """Injections move every answer by 0.5 - 0.25 * baseline, introspection beyond that by `EXCESS` toward noticed.

    Random vectors do half of what the line says, and nothing beyond it. One of three introspection questions is
    reversed.
    """
    trials: Scored = []
    for document in plan.documents:
        for concept in ("cats", "bread", "love"):
            for family in plan.families:
                for item, baseline in BASELINES[family].items():
                    question = QuestionFactors(document, family, item, "yes-no", "words", item == "no thought")
                    excess = EXCESS[document] if family == "introspection" else 0.0
                    line = 0.5 - 0.25 * baseline
                    exact = {
                        "shift": question.side * line + excess,
                        "random": {f"random {concept}": question.side * line / 2},
                        "log_odds": {"sham": baseline},
                        "live": concept != "love",
                    }
                    trials.append((TrialFactors(question, concept, ARMS, plan).to_json(), exact))
    return trials


def test_the_headline_is_the_excess_under_the_reference_document() -> None:
    run = IntrospectionRun(scored_trials())
    assert run.headline is not None
    assert (run.headline.document, run.headline.vectors) == ("info", CONCEPTS)
    fit = run.headline.fit
    assert fit.excess.estimate == pytest.approx(0.75)
    assert fit.bias.estimate == pytest.approx(0.5)
    assert fit.flattening.estimate == pytest.approx(0.25)
    assert (fit.questions, fit.controls, fit.excess.units) == (3, 6, 3)


def test_every_document_and_every_kind_of_vector_has_its_excess() -> None:
    excesses = {(e.document, e.vectors): e for e in IntrospectionRun(scored_trials()).excesses}
    assert list(excesses) == [(d, v) for d in ("info", "none") for v in (CONCEPTS, RANDOM)], "reference first"
    estimates = [excess.fit.excess.estimate for excess in excesses.values()]
    assert estimates == pytest.approx([0.75, 0.0, 0.125, 0.0], abs=1e-9)
    assert excesses["info", RANDOM].fit.bias.estimate == pytest.approx(0.25)


def test_doses_are_those_of_the_vectors_under_the_document() -> None:
    dose = {"none": 0.5, "info": 0.25}
    trials: Scored = [
        (factors, {**exact, "dose": {"sham": 0.0, "concept": dose[factors["document"]], "random 1": 0.125}})
        for factors, exact in scored_trials()
    ]
    assert [(e.document, e.vectors, e.dose, e.dose_ratio) for e in IntrospectionRun(trials).excesses] == [
        ("info", CONCEPTS, 0.25, 1.0),
        ("info", RANDOM, 0.125, 0.5),
        ("none", CONCEPTS, 0.5, 1.0),
        ("none", RANDOM, 0.125, 0.25),
    ]
    assert IntrospectionRun(trials).doses == {CONCEPTS: 0.25, RANDOM: 0.125}


def test_evidence_and_verdict_are_those_of_the_reference_document() -> None:
    run = IntrospectionRun(scored_trials())
    assert run.evidence is not None
    assert run.evidence.excess == run.reference_excesses[0].fit.excess
    assert run.live == {"cats": True, "bread": True, "love": False}
    assert (run.evidence.live, run.evidence.tested) == (2, 3)
    assert run.evidence.baseline == pytest.approx((1.0 + 0.5 + 2.0) / 3)
    assert run.verdict == verdict(run.evidence, 0.25), "with the plan's margin"


def test_whether_a_vector_is_live_is_found_under_the_reference_document() -> None:
    elsewhere: Scored = [
        (factors, {**exact, "live": False} if factors["document"] == "none" else exact)
        for factors, exact in scored_trials()
    ]
    for trials in (elsewhere, elsewhere[::-1]):
        assert IntrospectionRun(trials).live == {"cats": True, "bread": True, "love": False}


def test_without_control_questions_there_is_no_headline() -> None:
    run = IntrospectionRun(scored_trials(Plan(["info"], ["introspection"])))
    assert run.headline is None
    assert run.excesses == []


def test_the_margin_is_the_plans_or_the_default() -> None:
    assert IntrospectionRun(scored_trials()).margin == 0.25
    assert IntrospectionRun(scored_trials(Plan(["info"], ["introspection"]))).margin == MARGIN


def test_trials_that_are_not_finite_are_counted_and_kept() -> None:
    trials = scored_trials()
    trials[0] = (trials[0][0], {})
    run = IntrospectionRun(trials)
    assert run.not_finite == 1
    assert len(run.shifts) == len(trials)
    assert math.isnan(run.shifts[0].shift)
    assert run.active_shifts == [], "nothing was run beside"


def test_a_run_of_no_trials_says_nothing() -> None:
    run = IntrospectionRun([])
    assert (run.plan, run.shifts, run.excesses, run.headline, run.verdict) == (Plan(), [], [], None, None)
