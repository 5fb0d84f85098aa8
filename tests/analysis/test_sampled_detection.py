"""Graded answers of models of known kinds, which the metrics have to tell apart."""

import math

import pytest
from sampled_answers import (
    CONCEPTS,
    Answers,
    claimer_of_anything,
    detector,
    graded,
    silent,
    silent_namer,
    trials,
    yes_sayer,
)

from introbench.analysis.grading import Grade
from introbench.analysis.sampled_detection import (
    ALWAYS,
    ANY_VECTOR,
    DETECTS,
    NAMES_ONLY,
    NOTHING,
    ProtocolResult,
    grade_of,
    grade_record,
    results,
)
from introbench.records.sampled_factors import ONWARDS, PRIOR


def result_of(answers: Answers, **given: object) -> ProtocolResult:
    (result,) = results(trials(answers, **given))  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        (detector, DETECTS),
        (yes_sayer, ALWAYS),
        (silent_namer, NAMES_ONLY),
        (claimer_of_anything, ANY_VECTOR),
        (silent, NOTHING),
    ],
)
def test_planted_models_are_told_apart(answers: Answers, verdict: str) -> None:
    assert result_of(answers).verdict == verdict


def test_a_detector_has_hits_and_names_beyond_guessing() -> None:
    result = result_of(detector)
    best = result.best
    assert result.held_out
    assert best.name == "layer 2 x2"
    assert best.concepts == len(CONCEPTS) // 2
    assert best.hits.estimate == pytest.approx(0.6, abs=0.15)
    assert best.false_alarms.estimate == best.random.estimate == 0
    assert best.balanced_accuracy.estimate == pytest.approx(0.5 + best.above_sham.estimate / 2)
    assert best.d_prime.low > 1
    assert best.identified.estimate == pytest.approx(0.7, abs=0.15)
    assert best.by_guessing == 0
    assert best.above_guessing.low > 0.4
    assert best.named_claims.estimate == pytest.approx(best.hits.estimate * best.identified.estimate)


def test_a_yes_sayer_has_as_many_false_alarms_as_hits_and_names_no_better_than_by_guessing() -> None:
    best = result_of(yes_sayer).best
    assert best.hits.estimate > 0.8
    assert best.above_sham.low < 0 < best.above_sham.high
    assert abs(best.d_prime.estimate) < 0.6
    assert best.balanced_accuracy.low < 0.5 < best.balanced_accuracy.high
    assert best.popular == CONCEPTS[3]
    assert best.popular_share == pytest.approx(0.6, abs=0.15)
    assert best.above_guessing.low < 0
    assert best.by_guessing == pytest.approx(0.6 / 12, abs=0.02)


def test_a_namer_without_claims_has_no_hits() -> None:
    best = result_of(silent_namer).best
    assert best.hits.estimate == 0
    assert math.isnan(best.identified.estimate)
    assert best.unclaimed.estimate == pytest.approx(0.7, abs=0.15)
    assert math.isnan(best.popular_share)


def test_a_claimer_of_anything_claims_as_much_under_random_vectors() -> None:
    best = result_of(claimer_of_anything).best
    assert best.above_sham.low > 0.4
    assert best.above_random.low < 0 < best.above_random.high
    assert best.above_guessing.low < 0 < best.above_guessing.high
    assert best.identified_random == pytest.approx(1 / 24, abs=0.1)


def test_the_cell_is_chosen_on_one_half_and_reported_on_the_other() -> None:
    """A model that detects at one layer with the concepts of one half, and at the other with the others."""

    def split(kind: str, cell: str, concept: str, draw: object) -> tuple[bool, str | None]:
        is_first = CONCEPTS.index(concept) % 2 == 0
        return kind == "concept" and cell == ("layer 1 x2" if is_first else "layer 2 x2"), None

    result = result_of(split)
    assert result.best.name == "layer 1 x2"
    assert result.best.hits.estimate == 0
    assert [cell.hits.estimate for cell in result.cells] == [0.5, 0.5]
    assert result.verdict == NOTHING


def test_one_concept_or_one_cell_leave_nothing_to_choose() -> None:
    alone = result_of(detector, concepts=CONCEPTS[:1])
    assert not alone.held_out
    assert alone.best.concepts == 1
    one_cell = trials(detector)
    for metadata, _ in one_cell:
        del metadata["cells"]["layer 1 x2"]
    (result,) = results(one_cell)
    assert result.held_out
    assert result.best.concepts == len(CONCEPTS)


def test_incoherent_claims_are_no_detections() -> None:
    scored = trials(detector)
    for _, exact in scored:
        exact["grades"] = {
            arm: [[label for label in record if label != "coherent"] for record in of_arm]
            for arm, of_arm in exact["grades"].items()
        }
    (result,) = results(scored)
    assert result.best.hits.estimate == 0
    assert result.best.incoherent.estimate == result.best.incoherent_sham.estimate == 1


def test_answers_without_a_grade_are_counted_and_left_out() -> None:
    scored = trials(detector)
    for _, exact in scored:
        exact["grades"]["concept at layer 2 x2"][0] = None
    (result,) = results(scored)
    assert result.best.missing == result.best.concepts
    assert result.best.texts == result.best.concepts * 11
    assert result.verdict == DETECTS


def test_what_was_not_graded_has_no_result() -> None:
    assert results([]) == []
    assert results([(metadata, {}) for metadata, _ in trials(detector)]) == []


def test_protocols_have_results_of_their_own_in_a_fixed_order() -> None:
    both = [*trials(silent, protocol=ONWARDS), *trials(detector, protocol=PRIOR)]
    assert [(result.protocol, result.verdict) for result in results(both)] == [(PRIOR, DETECTS), (ONWARDS, NOTHING)]
    assert results(both) == results(both[::-1])


def test_forced_answers_are_judged_by_their_names_alone() -> None:
    def namer(kind: str, cell: str, concept: str, draw: object) -> tuple[bool, str | None]:
        return True, concept if kind == "concept" and cell == "layer 1 x2" else CONCEPTS[3]

    result = result_of(namer, begins="Yes, I detect it:")
    assert result.forced
    assert result.best.name == "layer 1 x2"
    assert result.verdict == DETECTS
    assert result_of(yes_sayer, begins="Yes, I detect it:").verdict == NOTHING


def test_a_grade_is_read_as_it_was_written() -> None:
    grade, _ = graded(True, "owls", "owls", refused=True)
    assert grade_of(grade_record(grade)) == grade
    assert grade_record(Grade(True, True, True, True, True, unscored="no answer")) is None
    assert grade_of(None) is None
