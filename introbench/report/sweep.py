"""What a sweep's trials say, as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sweep import (
    EXCESS,
    HeldOut,
    SweepTrial,
    broken_from,
    excess_map,
    group_trials,
    held_out,
    map_cells,
    map_names,
)
from introbench.records.factors import TrialFactors
from introbench.report.text import interval_text, number_text

NEEDED = "Needs two concepts, two introspection questions and six control questions in one format."


def sweep_paragraphs(grouped: Mapping[str, Sequence[SweepTrial]], plan: Mapping[str, Any]) -> list[str]:
    """The paragraphs of a sweep's table.

    Args:
        grouped: Its trials by document.
        plan: What the run set out to do: `axes`, `concepts`, `seed`.
    """
    return [paragraph for document, trials in grouped.items() for paragraph in _of_document(document, trials, plan)]


def _of_document(document: str, trials: Sequence[SweepTrial], plan: Mapping[str, Any]) -> list[str]:
    concepts, axes = plan["concepts"], plan["axes"]
    of_concepts = range(len(concepts))
    held = held_out(document, trials, concepts, seed=plan["seed"])
    by_name = {name: map_cells(name, trials, of_concepts, plan["seed"]) for name in map_names(trials)}
    broken = broken_from(trials, of_concepts)
    rows = []
    for row, layers in enumerate(axes["layers"]):
        for column, strength in enumerate(axes["strength"]):
            numbers = []
            for name, cells in by_name.items():
                cell = cells[row, column]
                shown = number_text(cell.interval.estimate) if cell.interval.units else "not finite"
                if name in (EXCESS, "introspection"):
                    shown = f"{shown} {interval_text(cell.interval)}"
                numbers.append(f"{shown} *" if cell.is_marked else shown)
            first = broken[row]
            rows.append([layers, strength, *numbers, "broken" if first is not None and column >= first else ""])
    headers = ["layers", "strength", *by_name, "controls"]
    random = np.arange(len(concepts), len(axes["vector"]))
    return [
        f"Document {document}: the best cell, chosen on half of the concepts and questions, read on the other halves",
        *(_held_paragraphs(held, axes) if held else [NEEDED]),
        f"Document {document}: every cell, mean shift over concepts in nats (introspection toward 'noticed')",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *([_random_paragraph(trials, random)] if random.size else []),
        "Intervals: 95%, over concepts and questions, each by itself. *: differs from 0 also where all cells of a\n"
        f"column are to hold together (Bonferroni, {len(rows)} cells); without a mark, it may be what chance gives.\n"
        "With few concepts hardly any cell can have a mark: then look at what was held out. excess: introspection\n"
        "beyond the curve through the control questions' shifts over their baselines. broken: from this strength on,\n"
        "control questions with a known answer move by half or more of what separates them from even odds.",
    ]


def _held_paragraphs(held: HeldOut, axes: Mapping[str, Sequence[str]]) -> list[str]:
    def cell(where: tuple[int, int]) -> str:
        return f"{axes['layers'][where[0]]} x{axes['strength'][where[1]]}"

    by_concepts: dict[tuple[str, ...], list[str]] = {}
    for choice in held.chosen:
        by_concepts.setdefault(choice.concepts, []).append(cell(choice.cell))
    choices = "; ".join(
        f"{', '.join(concepts)} choose {' and '.join(dict.fromkeys(cells))}" for concepts, cells in by_concepts.items()
    )
    rows = [
        [name, number_text(interval.estimate), interval_text(interval), interval.units]
        for name, interval in {EXCESS: held.excess, **held.families}.items()
    ]
    return [
        f"{choices}. Over all concepts {cell(held.best)} is largest; its excess of {held.at_best:+.3f} flatters.",
        tabulate(
            rows, ["held out", "mean (nats)", "95% interval", "concepts"], tablefmt="simple", disable_numparse=True
        ),
    ]


def _random_paragraph(trials: Sequence[SweepTrial], vectors: Any) -> str:
    excess = excess_map(trials, vectors) if EXCESS in map_names(trials) else np.array(np.nan)
    if not np.isfinite(excess).any():
        return "Random vectors: no finite excess."
    return f"Random vectors: the mean excess of a cell is at most {np.nanmax(excess.mean(axis=2)):+.3f} nats."


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    return sweep_paragraphs(group_trials(trials), TrialFactors.from_json(trials[0][0]).plan.more)
