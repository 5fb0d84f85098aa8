"""Figures of the probe task: what a linear probe reads beside what the model reports."""

from collections.abc import Mapping, Sequence

import numpy as np

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.probe_results import Result, probe_results
from introbench.page.charts import BLUE, ORANGE, interval_row, intervals, lines
from introbench.page.figure import Figure, Panel

COLOURS = {"concepts": BLUE, "random": ORANGE}


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    results = [result for result in probe_results(trials) if result.comparison == "same"]
    rows = [
        interval_row(f"{result.document}, {result.vectors}: {what}", interval)
        for result in results
        if result.state == "answer"
        for what, interval in (("probe", result.last.probe), ("report", result.last.report))
    ]
    curves: dict[str, list[Result]] = {}
    for result in results:
        if result.curve.shape[1]:
            curves.setdefault(f"{result.state}, document {result.document}", []).append(result)
    return [
        Figure(
            "auroc",
            "How well injected and sham are told apart where questions are answered",
            "AUROC of a linear probe after the last block and of the model's own report, against the sham of the same "
            "question; chance is 0.5, 95% intervals.",
            [Panel("last layer", intervals(rows, "AUROC", at=0.5, form=".2f"), rows)],
        ),
        Figure(
            "layers",
            "What a probe reads, by layer",
            "AUROC of a linear probe after each block, mean over vectors; chance is 0.5.",
            [_curve(name, of_name) for name, of_name in curves.items()],
        ),
    ]


def _curve(name: str, results: Sequence[Result]) -> Panel:
    rows = [
        {"x": layer, "y": float(value), "group": result.vectors}
        for result in results
        for layer, value in enumerate(np.mean(result.curve, axis=1))
    ]
    return Panel(name, lines(rows, "layer", "AUROC", COLOURS, at=0.5), rows)
