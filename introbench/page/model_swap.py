"""Figures of the model swap task: shifts and contrasts of every arm."""

from collections.abc import Mapping, Sequence

from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import ScoredTrial
from introbench.page.figure import Figure
from introbench.page.introspection import results_figure


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    run = SwapRun(trials)
    return [
        results_figure("contrasts", "Introspection beyond control questions, by arm", run.contrasts(), "nats"),
        results_figure("shifts", "Mean shifts, by arm", run.shifts(), "shift (nats)"),
    ]
