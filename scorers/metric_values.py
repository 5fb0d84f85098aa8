"""A metric's scores as the trials that results are made of, and how many numbers a task may have as metrics."""

from collections.abc import Iterable

from inspect_ai.scorer import SampleScore

from introbench.analysis.noticed import ScoredTrial

MOST_METRICS = 12
"""How many metrics a task has at most: what a person reads. All numbers are in `introbench.analysis.named_values`."""


def scored_trials(scores: Iterable[SampleScore]) -> list[ScoredTrial]:
    """The metadata of every sample and of its score."""
    return [(score.sample_metadata or {}, score.score.metadata or {}) for score in scores]
