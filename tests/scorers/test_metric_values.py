"""A metric's scores as trials; and every task's metrics: few, with names of their own, and NaN without trials."""

import importlib
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import SampleScore, Score, Scorer

from introbench.scorers.metric_values import MOST_METRICS, scored_trials

OLD = Path(__file__).parents[1] / "old_logs"
SCORERS = {
    "calibrate": ("dose_response", "proposed norm"),
    "identification": ("identified", "bits beyond random | list"),
    "introspection": ("yes_shift", "verdict: no effect"),
    "location": ("located", "halves: gain beyond random"),
    "logit_lens": ("lens_gap", "lost"),
    "model_swap": ("arm_shifts", "noticed"),
    "probe": ("probed", "recovered"),
    "sweep": ("swept", "held out"),
    "top_of_mind": ("top_of_mind_texts", "live vectors"),
}
"""For each task its scorer, and the metric that a person reads first."""


def scorer_of(task: str) -> Scorer:
    return getattr(importlib.import_module(f"introbench.scorers.{task}"), SCORERS[task][0])()


def metrics(log: EvalLog) -> dict[str, Any]:
    assert log.results
    return {name: metric.value for each in log.results.scores for name, metric in each.metrics.items()}


@pytest.mark.parametrize("task", SCORERS)
def test_old_logs_are_scored_again_with_few_metrics_and_the_headline_first(task: str) -> None:
    old = read_eval_log(str(OLD / f"{task}.eval"))
    assert old.results
    again = metrics(score(old, scorer_of(task), action="overwrite", display="none"))
    assert len(again) <= MOST_METRICS
    assert next(iter(again)) == SCORERS[task][1]
    assert all(isinstance(value, int | float) for value in again.values())


@pytest.mark.parametrize("task", SCORERS)
def test_without_trials_the_metrics_are_nan_or_0_and_nothing_is_warned_of(
    task: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = read_eval_log(str(OLD / f"{task}.eval"))
    old.samples = []
    with caplog.at_level(logging.WARNING):
        none = metrics(score(old, scorer_of(task), action="overwrite", display="none"))
    assert not caplog.records
    assert math.isnan(next(iter(none.values())))
    assert all(math.isnan(value) or value == 0 for value in none.values())


def test_a_score_without_metadata_is_a_trial_without_numbers() -> None:
    scores = [
        SampleScore(score=Score(value=1.0, metadata={"shift": 0.5}), sample_metadata={"concept": "cats"}),
        SampleScore(score=Score(value=math.nan), sample_metadata={"concept": "bread"}),
        SampleScore(score=Score(value=math.nan)),
    ]
    assert scored_trials(scores) == [({"concept": "cats"}, {"shift": 0.5}), ({"concept": "bread"}, {}), ({}, {})]
