"""What introspection moves beyond controls, random vectors and salience: simulated models get their verdicts."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from introbench.analysis.evidence import Evidence, evidence
from introbench.analysis.excess import RANDOM, RANDOM_BY_NORM, excesses, mean_doses
from introbench.analysis.noticed import ReadTrial, TrialShift
from introbench.analysis.verdict import verdict
from introbench.prompts import data, schema
from introbench.records.arm import Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.stats.intervals import NOT_MEASURED

CONCEPTS = data.concepts()
KINDS = {name: answer_format.kind for name, answer_format in data.answer_formats().items()}
PLAN = Plan(["info"], [*schema.FAMILIES, schema.SALIENCE])
EQUAL_DOSES = {"concepts": 0.1, RANDOM: 0.1}
LEANINGS = {"introspection": -2.0, "salience": -1.5, "always_no": -3.0, "always_yes": 3.0}

Effect = Callable[[schema.Question, str], float]


def simulated(effect: Effect, random: float = 0.0, seed: int = 0, noise: float = 0.2) -> list[TrialShift]:
    """A run of a model that is disturbed by every vector, and by concepts has an effect on some questions and formats.

    Args:
        effect: Toward "noticed" or "stands out", by question and format.
        random: Effect of random vectors on introspection.
        seed: Of everything that is drawn.
        noise: How much vectors and questions differ.
    """
    draw = np.random.default_rng(seed)
    vary = {concept: 1 + noise * draw.standard_normal() for concept in CONCEPTS}
    trials = []
    for question in data.questions():
        sign = -1.0 if question.reversed else 1.0
        leaning = sign * LEANINGS.get(question.family, 0.0) + draw.standard_normal()
        shared = noise * draw.standard_normal()
        for answer_format in question.formats:
            line = 0.3 - 0.1 * leaning + shared
            vectors = {
                f"random {number}": line
                + sign * random * (question.family == "introspection")
                + noise * draw.standard_normal()
                for number in range(6)
            }
            for concept in CONCEPTS:
                shift = line + sign * vary[concept] * effect(question, answer_format) + noise * draw.standard_normal()
                trials.append(
                    TrialShift(
                        "info", question.family, question.id, answer_format, KINDS[answer_format], concept, sign, shift,
                        dict(vectors), leaning,
                    )
                )  # fmt: skip
    return trials


def rests_on(trials: list[TrialShift], plan: Plan = PLAN) -> Evidence:
    measured = evidence(excesses(trials, plan, doses=EQUAL_DOSES), trials, plan, dict.fromkeys(CONCEPTS, True))
    assert measured is not None
    return measured


def introspector(question: schema.Question, answer_format: str) -> float:
    return 1.5 * (question.family == "introspection")


def salience_reader(question: schema.Question, answer_format: str) -> float:
    return 1.5 * (question.family in ("introspection", "salience"))


def salience_reader_that_prefers_labels(question: schema.Question, answer_format: str) -> float:
    """Words move by the same, other labels by much more: only words may be compared with words."""
    return salience_reader(question, answer_format) * (1.0 if answer_format == "yes-no" else 3.0)


def marker_of_the_text(question: schema.Question, answer_format: str) -> float:
    return 1.5 * (question.family == "salience")


def mostly_introspector(question: schema.Question, answer_format: str) -> float:
    return {"introspection": 2.5, "salience": 0.5}.get(question.family, 0.0)


@pytest.mark.parametrize(
    ("effect", "random", "name"),
    [
        (introspector, 0.0, "tracks the concept"),
        (mostly_introspector, 0.0, "tracks the concept"),
        (salience_reader, 0.0, "reads salience"),
        (salience_reader_that_prefers_labels, 0.0, "reads salience"),
        (salience_reader, 1.5, "notices any perturbation"),
        (marker_of_the_text, 0.0, "no effect"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_simulated_models_get_their_verdicts(effect: Effect, random: float, name: str, seed: int) -> None:
    assert verdict(rests_on(simulated(effect, random, seed))).name == name


def test_where_salience_was_not_asked_a_reader_of_it_passes_for_an_introspector() -> None:
    trials = [trial for trial in simulated(salience_reader) if trial.family != schema.SALIENCE]
    measured = rests_on(trials, Plan(["info"], schema.FAMILIES))
    assert measured.salience is measured.beyond_salience is NOT_MEASURED
    assert verdict(measured).name == "tracks the concept"


def test_both_excesses_are_over_the_same_lines_in_words() -> None:
    """Without noise every vector's line is exact, whatever other formats do."""
    trials = simulated(
        lambda q, form: {"introspection": 2.0, "salience": 0.75}.get(q.family, 0.0) + 9 * (form != "yes-no"), noise=0
    )
    measured = rests_on(trials)
    for interval, truth in ((measured.salience, 0.75), (measured.beyond_salience, 1.25)):
        assert (interval.low, interval.estimate, interval.high) == pytest.approx((truth,) * 3, abs=1e-9)
        assert interval.units == 9
    assert measured.excess.estimate > 2


def test_salience_is_no_control() -> None:
    trials = simulated(salience_reader)
    without = [trial for trial in trials if trial.family != schema.SALIENCE]
    assert excesses(trials, PLAN) == excesses(without, PLAN)
    assert excesses(trials, Plan(["info"], ["introspection", schema.SALIENCE])) == [], (
        "there is nothing to fit a line to"
    )


def test_a_concept_that_lost_its_salience_answers_does_not_take_the_others_with_it() -> None:
    trials = [
        replace(trial, shift=math.nan) if (trial.family, trial.concept) == (schema.SALIENCE, "love") else trial
        for trial in simulated(introspector)
    ]
    measured = rests_on(trials)
    assert measured.salience.units == measured.beyond_salience.units == 8
    assert measured.excess.units == 9
    assert verdict(measured).name == "tracks the concept"


@pytest.mark.parametrize("lost", ["one concept of each question", "all"])
def test_lost_salience_answers_are_no_licence(lost: str) -> None:
    trials = simulated(salience_reader)
    questions = sorted({trial.item for trial in trials if trial.family == schema.SALIENCE})
    without = [
        replace(trial, shift=math.nan)
        if trial.item in questions and (lost == "all" or trial.concept == CONCEPTS[questions.index(trial.item) % 9])
        else trial
        for trial in trials
    ]
    measured = rests_on(without)
    assert measured.salience_asked
    assert math.isnan(measured.salience.estimate)
    assert verdict(measured).name == "inconclusive"


def test_random_vectors_of_equal_dose_and_of_equal_norm_are_populations_of_their_own() -> None:
    """The same shifts are the same excess, whichever population they are of; without shifts there is no population."""
    trials = simulated(introspector, random=0.5)
    by_norm = [replace(trial, random={}, random_by_norm=trial.random) for trial in trials]
    doses = {"concepts": 0.2, RANDOM: 0.19, RANDOM_BY_NORM: 0.1}
    of_dose, of_norm = (excesses(each, PLAN, doses=doses) for each in (trials, by_norm))
    assert [each.vectors for each in of_dose] == ["concepts", RANDOM]
    assert [each.vectors for each in of_norm] == ["concepts", RANDOM_BY_NORM]
    assert of_norm[1].fit.excess.estimate == of_dose[1].fit.excess.estimate
    assert [each.dose for each in of_dose] == [0.2, 0.19]
    assert [each.dose_ratio for each in of_norm] == [1.0, 0.5]
    assert math.isnan(excesses(trials, PLAN)[1].dose)
    assert math.isnan(excesses(trials, PLAN)[1].dose_ratio)
    found = evidence(of_norm, by_norm, PLAN, dict.fromkeys(CONCEPTS, True))
    assert found is not None
    assert found.random is NOT_MEASURED, "the verdict rests on random vectors of equal dose alone"


def test_a_populations_dose_is_the_mean_over_its_vectors_whose_dose_is_known() -> None:
    def trial(concept: str, number: int, dose: dict[str, float | None]) -> ReadTrial:
        arms = {
            "sham": Arm("sham", 0),
            "concept": Arm("concept", 1 + number),
            "random 1 (impact)": Arm("random", 3 + number, 1, matched="impact"),
            "random 2 (impact)": Arm("random", 4 - number, 2, matched="impact"),
            "random 1": Arm("random", 5, 1),
            "negated": Arm("negated", 6 + number),
        }
        question = QuestionFactors("info", "introspection", "detect", "yes-no", "words")
        return TrialFactors(question, concept, arms, PLAN), {"dose": dict(zip(arms, dose.values(), strict=True))}

    cats = {"sham": 0.0, "concept": 0.25, "random 1": 0.5, "random 2": 0.75, "norm": 0.125, "negated": None}
    bread = cats | {"concept": 0.75, "random 1": 0.75, "random 2": 0.5, "negated": math.nan}
    scored = [trial("cats", 0, cats), trial("cats", 0, cats), trial("bread", 1, bread), (trial("love", 0, cats)[0], {})]
    assert mean_doses(scored) == {"concepts": 0.5, RANDOM: 0.625, RANDOM_BY_NORM: 0.125}
    assert mean_doses([]) == {}
