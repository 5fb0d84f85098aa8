"""Results as the flat values of an Inspect metric, and a metric's scores as the trials that results are made of."""

from collections.abc import Iterable

from inspect_ai.scorer import SampleScore

from introbench.analysis.noticed import Result, ScoredTrial
from introbench.stats.intervals import Interval


def scored_trials(scores: Iterable[SampleScore]) -> list[ScoredTrial]:
    """The metadata of every sample and of its score."""
    return [(score.sample_metadata or {}, score.score.metadata or {}) for score in scores]


def interval_values(key: str, interval: Interval) -> dict[str, float]:
    """An estimate, and the ends of its interval beside it."""
    return {key: interval.estimate, f"{key} | low": interval.low, f"{key} | high": interval.high}


def result_values(results: Iterable[Result]) -> dict[str, float]:
    """Metric values by readable name; a contrast without pairs is NaN with 0 pairs."""
    values: dict[str, float] = {}
    for result in results:
        values |= interval_values(result.key, result.interval)
        values |= {f"{result.key} | pairs": result.pairs, f"{result.key} | missing": result.missing}
    return values
