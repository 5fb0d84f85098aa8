"""Published probabilities of yes and no, and what the same trials of a run say.

The figures stand in datasets/published_results.yaml with their source: means over the study's questions under one
injection, without and with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from introbench.analysis.noticed import ReadTrial
from introbench.analysis.probabilities import mean_probabilities
from introbench.prompts import data
from introbench.records.arm import CONCEPT, SHAM

Pair = tuple[float, float]
"""A probability without and with the injection."""

UNKNOWN: Pair = (math.nan, math.nan)


@dataclass(frozen=True)
class PublishedResult:
    """One row of a published table, and what a run measured there.

    Attributes:
        document: Document in the first turn.
        injected: The concept; or the arm, where no concept was injected.
        controls: Whether control questions were asked whose answer is no, and not introspection questions.
        yes: Published probability of yes.
        no: Published probability of no.
        measured_yes: Mean probability of yes over the run's plain questions of that kind; NaN if none was asked.
        measured_no: The same of no.
    """

    document: str
    injected: str
    controls: bool
    yes: Pair
    no: Pair
    measured_yes: Pair = UNKNOWN
    measured_no: Pair = UNKNOWN


def source() -> str:
    """Where the figures were published."""
    return str(data.published_results()["source"])


def model() -> str:
    """The model that they are of."""
    return str(data.published_results()["model"])


def published_results(task: str) -> list[PublishedResult]:
    """The published rows of a task."""
    return [
        PublishedResult(
            row["document"], row["injected"], row.get("controls", False), _shares(row["yes"]), _shares(row["no"])
        )
        for row in data.published_results()["results"]
        if row["task"] == task
    ]


def beside_published(task: str, trials: Sequence[ReadTrial]) -> list[PublishedResult]:
    """The published rows of a task with what a run measured, those of documents that the run has."""
    documents = {factors.question.document for factors, _ in trials}
    return [_measured(row, trials) for row in published_results(task) if row.document in documents]


def _measured(row: PublishedResult, trials: Sequence[ReadTrial]) -> PublishedResult:
    family = "always_no" if row.controls else "introspection"
    of_concepts = any(arm.kind == CONCEPT for factors, _ in trials for arm in factors.arms.values())
    of_row = [
        (factors, exact)
        for factors, exact in trials
        if (factors.question.document, factors.question.family) == (row.document, family)
        and not factors.question.reversed
        and (factors.concept == row.injected if of_concepts else row.injected in factors.arms)
        and any(arm.kind == SHAM for arm in factors.arms.values())
    ]
    means = mean_probabilities(of_row, "" if of_concepts else row.injected)
    return replace(row, measured_yes=means[0].yes, measured_no=means[0].no) if means else row


def _shares(percent: Sequence[float]) -> Pair:
    without, injected = percent
    return without / 100, injected / 100
