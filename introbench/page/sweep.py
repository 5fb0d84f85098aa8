"""Figures of the sweep: maps of layer ranges by strengths, of introspection and each control family on one scale."""

from collections.abc import Mapping, Sequence

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sweep import group_trials, map_cells, map_names
from introbench.page.charts import diverging, squares
from introbench.page.figure import Figure, Panel
from introbench.records.factors import TrialFactors


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    plan, grouped = TrialFactors.from_json(trials[0][0]).plan, group_trials(trials)
    axes, of_concepts = plan.more["axes"], range(len(plan.more["concepts"]))
    shown = []
    for document in (name for name in plan.ordered_documents if name in grouped):
        maps = {
            name: map_cells(name, grouped[document], of_concepts, plan.more["seed"])
            for name in map_names(grouped[document])
        }
        values = [cell.interval.estimate for cells in maps.values() for cell in cells.values()]
        panels = []
        for name, cells in maps.items():
            rows = [
                {
                    "x": axes["strength"][column],
                    "y": axes["layers"][row],
                    "value": cell.interval.estimate,
                    "label": f"{cell.interval.estimate:+.2f}{'*' if cell.is_marked else ''}",
                    "low": cell.interval.low,
                    "high": cell.interval.high,
                }
                for (row, column), cell in sorted(cells.items())
            ]
            chart = squares(rows, "strength", "layers", scale=diverging(values), legend="nats", form="+.2f")
            panels.append(Panel(name.replace("_", " "), chart, rows))
        shown.append(
            Figure(
                f"maps-{document}",
                f"Shifts by layers and strength, document {document}",
                "Mean over concepts in nats, introspection toward 'noticed'; all maps have one scale. *: differs from "
                "0 with all cells of the map taken together. The excess is introspection beyond control questions.",
                panels,
                columns=3,
            )
        )
    return shown
