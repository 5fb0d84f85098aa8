"""Figures of the sampled detection task: hits beside false alarms, in every cell and in the chosen one."""

from collections.abc import Mapping, Sequence

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sampled_detection import CellResult, results
from introbench.page.charts import interval_row, intervals
from introbench.page.figure import Figure, Panel


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    panels, differences = [], []
    for result in results(trials):
        rows = _rates(result.best)
        title = f"{result.protocol}: {result.best.name}"
        panels.append(Panel(title, intervals(rows, "share of the answers", form=".0%"), rows))
        rows = [interval_row(cell.name, cell.above_sham) for cell in result.cells]
        chart = intervals(rows, "hits minus false alarms", form="+.0%")
        differences.append(Panel(result.protocol, chart, rows))
    return [
        Figure(
            "answers",
            "Does the model say that it detects an injected thought?",
            "Shares of the answers in the layer and strength that were chosen on the other half of the concepts, with "
            "intervals clustered by concept. Hits mean something only above the false alarms, which are the claims "
            "with nothing injected, and above the claims under random vectors.",
            panels,
        ),
        Figure(
            "cells",
            "Hits minus false alarms, by layer and strength",
            "On all concepts. The largest of these differences is one that was picked, so it looks better than it is.",
            differences,
        ),
    ]


def _rates(cell: CellResult) -> list[dict[str, object]]:
    return [
        interval_row(name, interval)
        for name, interval in {
            "hits": cell.hits,
            "false alarms": cell.false_alarms,
            "claims under random vectors": cell.random,
            "claims and names the concept": cell.named_claims,
            "declines": cell.refused,
            "incoherent": cell.incoherent,
        }.items()
    ]
