"""Records of a trial's factors and arms: written and read back as they were, and turned only where they say so."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introbench.records.arm import CONTROL_VECTORS, Arm, steerings_of
from introbench.records.arm_record import ArmRecord, TextRecord, finite_or_none, number_or_nan, rounded
from introbench.records.factors import (
    ContinuationFactors,
    PlaceFactors,
    Plan,
    QuestionFactors,
    TrialFactors,
)
from introbench.records.probe_factors import ProbeFactors

words = st.text("abcdefgh-", min_size=1, max_size=6)
arms = st.builds(
    Arm,
    st.sampled_from(["sham", "concept", "random", "finetune", *CONTROL_VECTORS]),
    st.integers(0, 300),
    st.integers(-1, 9),
    st.sampled_from(["cache", "active"]),
    st.sampled_from(["norm", "impact"]),
    st.sampled_from(["", "first", "10:20 x8"]),
)
questions = st.builds(
    QuestionFactors, words, words, words, words, words, st.booleans(), words, st.dictionaries(words, words, max_size=3)
)
places = st.builds(
    PlaceFactors, words, words, words, words, st.integers(0, 9), st.dictionaries(words, words, max_size=3), words
)
more = st.dictionaries(st.sampled_from(["axes", "parts", "seed"]), st.integers(0, 9), max_size=2)
plans = st.builds(
    Plan,
    st.lists(words, max_size=3),
    st.lists(words, min_size=1, max_size=3),
    st.none() | st.floats(0.1, 2),
    st.lists(words, max_size=2),
    more,
) | st.builds(Plan, st.lists(words, max_size=3), st.just([]), more=more)


@given(
    st.builds(
        TrialFactors,
        questions | places,
        words,
        st.dictionaries(words, arms, max_size=4),
        plans,
        st.integers(0, 9),
        words,
        st.integers(0, 5),
        st.dictionaries(words, words, max_size=2),
        st.booleans(),
    )
)
def test_factors_come_back_from_a_samples_metadata(factors: TrialFactors) -> None:
    assert TrialFactors.from_json(json.loads(json.dumps(factors.to_json()))) == factors


def test_other_factors_come_back_too() -> None:
    continuation = ContinuationFactors("cats", {"sham": Arm("sham", 0)}, 2, {"8": [1, 2]}, {"8": ["a", "b"]}, "8")
    assert ContinuationFactors.from_json(json.loads(json.dumps(continuation.to_json()))) == continuation
    assert continuation.words == "cats"
    described = replace(continuation, description="house cats")
    assert ContinuationFactors.from_json(json.loads(json.dumps(described.to_json()))) == described
    assert described.words == "house cats"
    probe = ProbeFactors("info", ["a"], [True], 10, ["info", "none"], 3)
    assert ProbeFactors.from_json(json.loads(json.dumps(probe.to_json()))) == probe


def test_the_side_of_a_reversed_question_is_no() -> None:
    assert QuestionFactors("info", "introspection", "a").side == 1.0
    assert QuestionFactors("info", "introspection", "a", reversed=True).side == -1.0


def test_a_plan_knows_which_families_are_asked_under_which_document() -> None:
    families = ["introspection", "confusing", "salience"]
    plan = Plan(["none", "info"], families, reference_only=["confusing"])
    assert plan.ordered_documents == ["info", "none"]
    assert plan.families_under("none") == ["introspection", "salience"]
    assert plan.families_under("info") == families
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_plan_of_an_old_log_asks_of_salience_under_the_reference_document_alone() -> None:
    plan = Plan.from_json({"documents": ["none", "info"], "families": ["introspection", "salience"]})
    assert plan.families_under("none") == ["introspection"]
    assert plan.families_under("info") == ["introspection", "salience"]


@pytest.mark.parametrize("finite", [True, False])
def test_an_arms_record_comes_back_from_an_output(finite: bool) -> None:
    logprobs = {"yes": [-1.0, -2.0], "no": [-0.5]} if finite else {}
    top = ((" yes", -0.5), (" no", -1.25)) if finite else ()
    record = ArmRecord("random 1", "random cats-0", "ab", 8.0, None, True, finite, logprobs, {"yes": [-1.0]}, top)
    values = json.loads(json.dumps(record.to_json()))
    assert ArmRecord.from_json(values) == record
    assert (values["logprobs"] is None) is not finite
    text = TextRecord("concept", "cats", None, 0.5, ["a b"], [None], finite)
    assert TextRecord.from_json(json.loads(json.dumps(text.to_json()))) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_record_holds_numbers_as_exactly_as_they_were_computed(number: float) -> None:
    assert rounded(number) == pytest.approx(number, rel=1e-6, abs=0)
    assert rounded(number) == pytest.approx(number, abs=5.1e-8, rel=1e-15)


def test_numbers_are_rounded_wherever_they_stand_in_a_record() -> None:
    third = 1 / 3
    record = {"a": [third, None, ("b", third / 1e6)], "c": {"d": -100 * third}, "e": 3, "f": True}
    assert rounded(record) == {"a": [0.3333333, None, ["b", 3.333333e-07]], "c": {"d": -33.3333333}, "e": 3, "f": True}
    assert str(rounded(float("nan"))) == "nan"


def test_numbers_that_are_not_finite_are_null_in_records() -> None:
    assert [finite_or_none(number) for number in (1.0, float("nan"), float("inf"))] == [1.0, None, None]
    assert number_or_nan(2) == 2.0
    assert number_or_nan(None) != number_or_nan(None)


def test_steerings_are_those_of_the_concept_in_order() -> None:
    sham, cached, active = Arm("sham", 0), Arm("concept", 1), Arm("concept", 2, steering="active")
    assert steerings_of([sham, active]) == ("active",)
    assert steerings_of([sham, cached, active]) == ("cache", "active")
