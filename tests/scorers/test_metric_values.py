"""Results as an Inspect metric shows them, and a metric's scores as trials."""

import math

from inspect_ai.scorer import SampleScore, Score

from introbench.analysis.noticed import Result
from introbench.scorers.metric_values import interval_values, result_values, scored_trials
from introbench.stats.intervals import NOT_MEASURED, Interval


def test_an_interval_is_three_values() -> None:
    assert interval_values("excess | info", Interval(1.0, 0.5, 1.75, 9)) == {
        "excess | info": 1.0,
        "excess | info | low": 0.5,
        "excess | info | high": 1.75,
    }


def test_a_result_has_its_pairs_and_what_is_missing_beside_it() -> None:
    results = [
        Result("introspection - always_no", "info", Interval(1.0, 0.5, 1.75, 9), 27, 2),
        Result("info - lorem", "", NOT_MEASURED, 0, 4),
    ]
    values = result_values(results)
    assert values["introspection - always_no | info"] == 1.0
    assert values["introspection - always_no | info | high"] == 1.75
    assert values["introspection - always_no | info | pairs"] == 27
    assert values["introspection - always_no | info | missing"] == 2
    assert math.isnan(values["info - lorem"])
    assert (values["info - lorem | pairs"], values["info - lorem | missing"]) == (0, 4)
    assert len(values) == 10


def test_a_score_without_metadata_is_a_trial_without_numbers() -> None:
    scores = [
        SampleScore(score=Score(value=1.0, metadata={"shift": 0.5}), sample_metadata={"concept": "cats"}),
        SampleScore(score=Score(value=math.nan), sample_metadata={"concept": "bread"}),
        SampleScore(score=Score(value=math.nan)),
    ]
    assert scored_trials(scores) == [({"concept": "cats"}, {"shift": 0.5}), ({"concept": "bread"}, {}), ({}, {})]
