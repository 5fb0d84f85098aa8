"""Figures of the identification task: what is reported of what was injected."""

from collections.abc import Mapping, Sequence

from introbench.analysis.identification import Identification, identifications
from introbench.analysis.noticed import ScoredTrial
from introbench.page.charts import SHARES, interval_row, intervals, squares
from introbench.page.figure import Figure, Panel
from introbench.stats.intervals import Interval


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    cells = list(identifications(trials).values())
    if not cells:
        return []
    rows = []
    for cell in cells:
        bits, name = cell.information, f"{cell.part}, {cell.document}"
        of_concepts = Interval(bits.bits, bits.low, bits.high, bits.orders)
        rows.append(interval_row(f"{name}: concepts", of_concepts, ceiling=bits.ceiling, accuracy=bits.accuracy))
        rows.append(interval_row(f"{name}: random vectors", Interval(cell.random_bits, float("nan"), float("nan"), 0)))
    return [
        Figure(
            "bits",
            "Information between what was injected and what is reported",
            "Bits, corrected for bias, 95% intervals. Vectors without meaning shift answers, too: only what concepts "
            "have beyond random vectors says that concepts are named.",
            [Panel("all parts", intervals(rows, "bits"), rows)],
        ),
        Figure(
            "confusion",
            "What is reported when a concept was injected",
            "Mean probability of each option; rows are what was injected.",
            [_confusion(cell) for cell in cells],
        ),
    ]


def _confusion(cell: Identification) -> Panel:
    shown = [name or "nothing" for name in cell.options[: cell.confusion.shape[1]]]
    if len(cell.options) != len(shown):
        shown = [*cell.concepts, "others"]
    rows = [
        {"x": name, "y": concept, "value": float(value), "label": f"{value:.0%}"}
        for concept, row in zip(cell.concepts, cell.confusion, strict=True)
        for name, value in zip(shown, row, strict=True)
    ]
    chart = squares(rows, "reported", "injected", scale=SHARES, legend="probability", form=".0%")
    return Panel(f"{cell.part}, {cell.document}: {cell.information.bits:+.2f} bits", chart, rows)
