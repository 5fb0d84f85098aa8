"""Computes again what a log says from what its trials recorded: scores from outputs, and metrics from scores."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from inspect_ai import score
from inspect_ai.log import EvalLog, read_eval_log, recompute_metrics
from inspect_ai.scorer import Scorer

from introbench.analysis.grading import BY_RULES
from introbench.analysis.verdict import RULES
from introbench.records.scores import score_of
from introbench.report.read_log import rules_of
from introbench.report.report import counted

TOLERANCE = 1e-9
"""Largest difference between a stored number and the recomputed one that rounding may make, relative above 1."""

JUDGED = "yes_shift"
"""The scorer whose metrics hold a verdict, which rules of some version give."""

_VERDICT = "verdict: "


@dataclass(frozen=True)
class Difference:
    """A stored value that is not what its trials give.

    Attributes:
        where: The trial, score or metric.
        stored: The value in the log.
        recomputed: The value that follows from the log's trials.
    """

    where: str
    stored: object
    recomputed: object

    def __str__(self) -> str:
        return f"{self.where}: the log has {self.stored!r}, its trials give {self.recomputed!r}"


@dataclass(frozen=True)
class Recomputed:
    """What computing a log again has shown.

    Attributes:
        differences: The stored values that are not what the trials give.
        trials: How many trials were compared.
        metrics: How many metrics were compared.
        left_out: Why metrics were not compared, or which ones; empty if all were.
    """

    differences: Sequence[Difference]
    trials: int
    metrics: int
    left_out: str = ""


def recompute(location: str, name: str, scorer: Scorer) -> Recomputed:
    """Score a log again from its model outputs, and compare all scores and metrics with the stored ones.

    Grades that a model gave cannot be computed; the metrics that follow from them are.

    Args:
        location: The log; it is not changed.
        name: Name of the task's scorer.
        scorer: The scorer.
    """
    stored = read_eval_log(location)
    if is_graded_by_model := _is_graded_by_model(stored, name):
        again = deepcopy(stored)
        recompute_metrics(again)
    else:
        again = score(stored, scorer, action="overwrite", display="none", copy=True)
    trials, trials_again = ({} if is_graded_by_model else _scores(log, name) for log in (stored, again))
    metrics, metrics_again = (_metrics(log) for log in (stored, again))
    left_out = "grades, which a model gave" if is_graded_by_model else ""
    rules = RULES
    if name == JUDGED:
        rules, again_rules = (rules_of(_fields(log)) for log in (stored, again))
        metrics["rules"], metrics_again["rules"] = rules, again_rules
    # A log whose metrics have the names of this release is compared whole, whatever it says about its rules.
    if others := sorted(metrics.keys() ^ metrics_again.keys()):
        left_out = f"{counted(len(others), 'metric')} of one release alone, such as {others[0]}"
        if rules < RULES:
            metrics, left_out = {}, f"metrics are by version {rules} of the rules, and cannot be computed any more"
    both = metrics.keys() & metrics_again.keys()
    found = [
        *_differing(trials, trials_again),
        *_differing({m: metrics[m] for m in metrics if m in both}, {m: metrics_again[m] for m in both}, "metric"),
    ]
    return Recomputed(found, len(trials), len(both), left_out)


def _is_graded_by_model(log: EvalLog, name: str) -> bool:
    """Whether answers were graded by a model, and not by rules."""
    scores = [score_of(sample.scores, name) for sample in log.samples or []]
    return any((score.metadata or {}).get("grader", BY_RULES) != BY_RULES for score in scores if score)


def _scores(log: EvalLog, name: str) -> dict[str, Any]:
    """The values and exact numbers that a scorer gave each trial."""
    scores = {(sample.id, sample.epoch): score_of(sample.scores, name) for sample in log.samples or []}
    return {
        f"trial {trial}, epoch {epoch}": {"value": _numbers(score.value), "metadata": score.metadata}
        for (trial, epoch), score in scores.items()
        if score is not None
    }


def _numbers(value: Any) -> Any:
    """A score's value without words, which say what the trial's factors say, and which older releases left out."""
    return {name: one for name, one in value.items() if not isinstance(one, str)} if isinstance(value, dict) else value


def _metrics(log: EvalLog) -> dict[str, Any]:
    """The values of metrics by name; that of `verdict` is the verdict, which is part of a metric's name."""
    values = {name: fields["value"] for name, fields in _fields(log)}
    found = {name: value for name, value in values.items() if not name.startswith(_VERDICT)}
    given = [name.removeprefix(_VERDICT) for name, value in values.items() if name not in found and value == 1]
    return found | ({"verdict": given[0]} if given else {})


def _fields(log: EvalLog) -> list[tuple[str, dict[str, Any]]]:
    scores = log.results.scores if log.results else []
    return [(name, metric.model_dump()) for of_scorer in scores for name, metric in of_scorer.metrics.items()]


def _differing(stored: Any, recomputed: Any, where: str = "") -> Iterator[Difference]:
    if isinstance(stored, Mapping) and isinstance(recomputed, Mapping):
        for name in dict.fromkeys([*stored, *recomputed]):
            inner = f"{where}, {name}" if where else str(name)
            yield from _differing(stored.get(name), recomputed.get(name), inner)
    elif isinstance(stored, list | tuple) and isinstance(recomputed, list | tuple) and len(stored) == len(recomputed):
        for number, pair in enumerate(zip(stored, recomputed, strict=True)):
            yield from _differing(*pair, f"{where} [{number}]")
    elif not _equal(stored, recomputed):
        yield Difference(where, stored, recomputed)


def _equal(stored: object, recomputed: object) -> bool:
    if isinstance(stored, float | int) and isinstance(recomputed, float | int):
        both_nan = math.isnan(stored) and math.isnan(recomputed)
        return both_nan or math.isclose(stored, recomputed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return stored == recomputed or (_is_nothing(stored) and _is_nothing(recomputed))


def _is_nothing(value: object) -> bool:
    """Whether a value is missing, or not a number, which logs write as null."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def check_lines(found: Mapping[str, Recomputed], most: int = 10) -> list[str]:
    """What was found, in lines.

    Args:
        found: What computing each log again has shown.
        most: How many differences of a log are shown.
    """
    lines = []
    for location, of_log in found.items():
        compared = f"the scores of {of_log.trials} trials and {of_log.metrics} metrics"
        count = len(of_log.differences)
        says = f"{counted(count, 'stored value')} not as the trials give" if count else f"equal within {TOLERANCE:g}"
        lines.append(f"{location}: {compared} computed again: {says}")
        lines += [f"  {difference}" for difference in of_log.differences[:most]]
        lines += [f"  not compared: {of_log.left_out}"] if of_log.left_out else []
    return lines
