"""A trial's shifts: which arm is held against which, and where the sign of a reversed question is turned."""

import math

import pytest

from introbench.analysis.noticed import (
    Result,
    TrialShift,
    exact_numbers,
    shifts_of_arms,
    trial_shift,
    trial_shifts,
)
from introbench.records.arm import ACTIVE, CACHE, CONCEPT, IMPACT, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.stats.intervals import Interval

ARMS = {
    "sham": Arm(SHAM, 0),
    "concept": Arm(CONCEPT, 1),
    "random 1 (impact)": Arm(RANDOM, 2, 1, matched=IMPACT),
    "random 2 (impact)": Arm(RANDOM, 3, 2, matched=IMPACT),
    "concept active": Arm(CONCEPT, 4, steering=ACTIVE),
    "random 1 active (impact)": Arm(RANDOM, 5, 1, ACTIVE, IMPACT),
    "random 2 active (impact)": Arm(RANDOM, 6, 2, ACTIVE, IMPACT),
    "random 1": Arm(RANDOM, 7, 1),
    "negated": Arm("negated", 8),
}
VECTORS = {name: f"vector of {name}" for name in ARMS}
LOG_ODDS = dict(zip(ARMS, [-1.0, 0.5, -1.25, -0.75, 2.0, -3.0, 0.0, -1.75, -2.5], strict=True))
REVERSED = QuestionFactors("info", "introspection", "no_thought", "yes-no", "words", reversed=True)
PLAIN = QuestionFactors("info", "introspection", "detect", "yes-no", "words")


def factors(question: QuestionFactors, arms: dict[str, Arm] = ARMS) -> TrialFactors:
    return TrialFactors(question, "cats", arms, Plan(["info"], ["introspection"]))


@pytest.mark.parametrize(("question", "side"), [(PLAIN, 1.0), (REVERSED, -1.0)])
def test_shifts_are_log_odds_minus_the_shams_and_toward_yes(question: QuestionFactors, side: float) -> None:
    shifts = shifts_of_arms(question, "cats", ARMS, LOG_ODDS, VECTORS, CACHE)
    assert shifts.shift == 1.5
    assert shifts.random == {"vector of random 1 (impact)": -0.25, "vector of random 2 (impact)": 0.25}
    assert shifts.random_by_norm == {"vector of random 1": -0.75}
    assert shifts.controls == {"negated": -1.5}
    assert (shifts.baseline, shifts.side) == (-1.0, side)
    assert (shifts.item, shifts.answer_format, shifts.answer_kind) == (question.question, "yes-no", "words")


def test_a_random_vector_keeps_its_label_while_the_model_answers() -> None:
    shifts = shifts_of_arms(PLAIN, "cats", ARMS, LOG_ODDS, VECTORS, ACTIVE)
    assert shifts.shift == 3.0
    assert shifts.random == {"vector of random 1 (impact)": -2.0, "vector of random 2 (impact)": 1.0}
    assert shifts.random_by_norm == shifts.controls == {}, "these are run as the prior turn is read"


def test_noticed_turns_the_sign_of_a_reversed_question_alone() -> None:
    plain, turned = (shifts_of_arms(q, "cats", ARMS, LOG_ODDS, VECTORS, CACHE) for q in (PLAIN, REVERSED))
    assert (plain.noticed, turned.noticed) == (1.5, -1.5)
    assert turned.noticed_under_random == {"vector of random 1 (impact)": 0.25, "vector of random 2 (impact)": -0.25}
    assert turned.noticed_under_random_by_norm == {"vector of random 1": 0.75}
    assert turned.noticed_under_controls == {"negated": 1.5}
    assert turned.under(0.5).noticed == -0.5
    assert turned.under(0.5).random == turned.under(0.5).random_by_norm == {}


@pytest.mark.parametrize("question", [PLAIN, REVERSED])
def test_a_score_holds_what_was_noticed_and_gives_the_shifts_back(question: QuestionFactors) -> None:
    by_steering = [shifts_of_arms(question, "cats", ARMS, LOG_ODDS, VECTORS, steering) for steering in (CACHE, ACTIVE)]
    exact = exact_numbers(*by_steering)
    assert exact["shift"] == 1.5 * question.side
    assert exact["active"]["shift"] == 3.0 * question.side
    scored = exact | {"log_odds": LOG_ODDS}
    assert [trial_shift(factors(question), scored, active=active) for active in (False, True)] == by_steering
    assert trial_shifts([(factors(question).to_json(), scored)]) == by_steering[:1]


@pytest.mark.parametrize("question", [PLAIN, REVERSED])
def test_random_vectors_of_equal_norm_alone_are_those_that_release_0_1_0_called_random(
    question: QuestionFactors,
) -> None:
    arms = {
        "sham": Arm(SHAM, 0),
        "concept": Arm(CONCEPT, 1),
        "random 1": Arm(RANDOM, 2, 1),
        "concept active": Arm(CONCEPT, 3, steering=ACTIVE),
        "random 1 active": Arm(RANDOM, 4, 1, ACTIVE),
    }
    log_odds = dict(zip(arms, [-1.0, 0.5, -1.25, 2.0, -3.0], strict=True))
    shifts = [shifts_of_arms(question, "cats", arms, log_odds, VECTORS, steering) for steering in (CACHE, ACTIVE)]
    assert [shift.random for shift in shifts] == [{}, {}]
    assert [shift.random_by_norm for shift in shifts] == [{"vector of random 1": -0.25}, {"vector of random 1": -2.0}]
    side = question.side
    written = {
        "shift": side * 1.5,
        "random": {"vector of random 1": side * -0.25},
        "active": {"shift": side * 3.0, "random": {"vector of random 1": side * -2.0}},
    }
    assert exact_numbers(*shifts) == written, "scored again, an old log says what it said"
    read = [trial_shift(factors(question, arms), written | {"log_odds": log_odds}, active=a) for a in (False, True)]
    assert read == shifts


def test_a_trial_without_finite_numbers_is_kept_as_nan() -> None:
    lost = trial_shift(factors(REVERSED), {})
    assert isinstance(lost, TrialShift)
    assert math.isnan(lost.shift)
    assert math.isnan(lost.noticed)
    assert math.isnan(lost.baseline)
    assert lost.random == lost.random_by_norm == lost.controls == {}


def test_a_trial_run_in_one_way_alone_has_no_shifts_of_the_other() -> None:
    once = {name: arm for name, arm in ARMS.items() if arm.steering == CACHE}
    assert trial_shift(factors(PLAIN, once), {}, active=True) is None
    assert trial_shifts([(factors(PLAIN, once).to_json(), {})], active=True) == []
    throughout = {"sham": Arm(SHAM, 0), "concept": Arm(CONCEPT, 1, steering=ACTIVE)}
    assert trial_shift(factors(PLAIN, throughout), {}, active=True) is None, "the run's own injections, not others"


def test_a_results_key_names_its_document_if_it_has_one() -> None:
    interval = Interval(1.0, 0.5, 1.5, 9)
    assert Result("introspection - always_no", "info", interval, 9, 0).key == "introspection - always_no | info"
    assert Result("info - lorem", "", interval, 9, 0).key == "info - lorem"
