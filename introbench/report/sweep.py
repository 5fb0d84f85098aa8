"""What a sweep's trials say, as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sweep import (
    EXCESS,
    HeldOut,
    MapCell,
    SweepTrial,
    broken_from,
    excess_map,
    group_trials,
    held_out,
    map_cells,
    map_names,
)
from introbench.records.factors import TrialFactors
from introbench.report.report import Report, counted, listed, plain_table
from introbench.report.text import interval_text, number_text

NEEDED = "Needs two concepts, two introspection questions and six control questions in one format."


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    plan, grouped = TrialFactors.from_json(trials[0][0]).plan, group_trials(trials)
    documents = [_Document(name, grouped[name], plan.more) for name in plan.ordered_documents if name in grouped]
    return Report(
        conclusion=_conclusion(documents[0]),
        tables=[_grid(documents[0]), *_held_table(documents[0])] if documents else [],
        further=[paragraph for document in documents for paragraph in _paragraphs(document)],
    )


class _Document:
    """The maps of one document.

    Attributes:
        name: The document.
        trials: Its trials.
        axes: The names of ranges, strengths and vectors.
        of_concepts: The concepts' vectors, by number.
        held: What the best cell shows for others than chose it; None if there are too few.
        maps: The cells of every map, by the map's name.
        broken: For each range the first strength at which control questions break.
    """

    def __init__(self, name: str, trials: Sequence[SweepTrial], plan: Mapping[str, Any]) -> None:
        self.name, self.trials, self.axes = name, trials, plan["axes"]
        self.of_concepts = range(len(plan["concepts"]))
        self.held = held_out(name, trials, plan["concepts"], seed=plan["seed"])
        self.maps = {each: map_cells(each, trials, self.of_concepts, plan["seed"]) for each in map_names(trials)}
        self.broken = broken_from(trials, self.of_concepts)

    def cell(self, where: tuple[int, int]) -> str:
        """The name of a cell."""
        return f"{self.axes['layers'][where[0]]} x{self.axes['strength'][where[1]]}"

    @property
    def random(self) -> str:
        """What random vectors do at most."""
        vectors = np.arange(len(self.of_concepts), len(self.axes["vector"]))
        return _random_paragraph(self.trials, vectors) if vectors.size else "No random vector was run."


def _conclusion(document: _Document) -> list[str]:
    """Where introspection moves beyond control questions, how much of it holds out, and where controls break."""
    name, cells = next(iter(document.maps.items()))
    marked = [document.cell(where) for where, cell in cells.items() if cell.is_marked]
    what = "the excess over control questions" if name == EXCESS else f"the shift of {name}"
    where = f"{listed(marked[:6])}{f' and {len(marked) - 6} more' if len(marked) > 6 else ''}" if marked else "no cell"
    held = document.held
    if held is None:
        headline = [f"No cell could be chosen and held out under document {document.name}. {NEEDED}"]
    else:
        interval = held.excess
        shown = (
            "Introspection moves beyond control questions"
            if interval.low > 0
            else "Introspection moves the other way"
            if interval.high < 0
            else "It is not shown that introspection moves beyond control questions in any cell"
        )
        headline = [
            f"{shown}: held out, the best cell has an excess of {number_text(interval.estimate)} "
            f"{interval_text(interval)} nats (95% interval, document {document.name}).",
            f"Halves of the concepts and questions chose {listed(_chosen(document, held))}; over all, "
            f"{document.cell(held.best)} is largest with {held.at_best:+.3f} nats, which flatters: it was picked.",
        ]
    layers = document.axes["layers"]
    broken = [
        f"layers {layers[row]} from {document.axes['strength'][first]} on"
        for row, first in enumerate(document.broken)
        if first is not None
    ]
    return [
        *headline,
        f"Of {counted(len(cells), 'cell')}, {what} differs from 0 in {where}, all cells taken together. "
        f"{document.random}",
        f"Control questions break in {listed(broken)}: there, shifts say little."
        if broken
        else "No control question breaks.",
        f"It rests on {counted(len(document.of_concepts), 'concept')} and "
        f"{counted(len({trial.item for trial in document.trials}), 'question')}.",
        "What would change it: more concepts and wordings; the introspection task in the cell found, which asks more "
        "(-T layers=... -T strength=...).",
    ]


def _chosen(document: _Document, held: HeldOut) -> list[str]:
    return list(dict.fromkeys(document.cell(choice.cell) for choice in held.chosen))


def _grid(document: _Document) -> str:
    """The first map, layers by strengths; marked cells have stars."""
    name, cells = next(iter(document.maps.items()))
    strengths = document.axes["strength"]
    rows = [
        [layers, *(_short(cells[row, column]) for column in range(len(strengths)))]
        for row, layers in enumerate(document.axes["layers"])
    ]
    return plain_table([f"{name} (nats)", *(f"x{strength}" for strength in strengths)], rows)


def _short(cell: MapCell) -> str:
    estimate = number_text(cell.interval.estimate) if cell.interval.units else "not finite"
    return f"{estimate} *" if cell.is_marked else estimate


def _held_table(document: _Document) -> list[str]:
    if document.held is None:
        return []
    rows = [
        [name, number_text(interval.estimate), interval_text(interval), interval.units]
        for name, interval in {EXCESS: document.held.excess, **document.held.families}.items()
    ]
    return [plain_table(["held out", "mean (nats)", "95% interval", "concepts"], rows)]


def _paragraphs(document: _Document) -> list[str]:
    """What was held out, and every cell of every map of a document."""
    axes = document.axes
    rows = []
    for row, layers in enumerate(axes["layers"]):
        for column, strength in enumerate(axes["strength"]):
            numbers = []
            for name, cells in document.maps.items():
                cell = cells[row, column]
                shown = number_text(cell.interval.estimate) if cell.interval.units else "not finite"
                if name in (EXCESS, "introspection"):
                    shown = f"{shown} {interval_text(cell.interval)}"
                numbers.append(f"{shown} *" if cell.is_marked else shown)
            first = document.broken[row]
            rows.append([layers, strength, *numbers, "broken" if first is not None and column >= first else ""])
    headers = ["layers", "strength", *document.maps, "controls"]
    held = [_choices(document, document.held), *_held_table(document)] if document.held else [NEEDED]
    return [
        f"Document {document.name}: the best cell, chosen on half of the concepts and questions, read on the other "
        "halves",
        *held,
        f"Document {document.name}: every cell, mean shift over concepts in nats (introspection toward 'noticed')",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        document.random,
        "Intervals: 95%, over concepts and questions, each by itself. *: differs from 0 also where all cells of a\n"
        f"column are to hold together (Bonferroni, {len(rows)} cells); without a mark, it may be what chance gives.\n"
        "With few concepts hardly any cell can have a mark: then look at what was held out. excess: introspection\n"
        "beyond the curve through the control questions' shifts over their baselines. broken: from this strength on,\n"
        "control questions with a known answer move by half or more of what separates them from even odds.",
    ]


def _choices(document: _Document, held: HeldOut) -> str:
    """Which concepts chose which cells."""
    by_concepts: dict[tuple[str, ...], list[str]] = {}
    for choice in held.chosen:
        by_concepts.setdefault(choice.concepts, []).append(document.cell(choice.cell))
    choices = "; ".join(
        f"{', '.join(concepts)} choose {' and '.join(dict.fromkeys(cells))}" for concepts, cells in by_concepts.items()
    )
    best = document.cell(held.best)
    return f"{choices}. Over all concepts {best} is largest; its excess of {held.at_best:+.3f} flatters."


def _random_paragraph(trials: Sequence[SweepTrial], vectors: Any) -> str:
    excess = excess_map(trials, vectors) if EXCESS in map_names(trials) else np.array(np.nan)
    if not np.isfinite(excess).any():
        return "Random vectors: no finite excess."
    return f"Random vectors: the mean excess of a cell is at most {np.nanmax(excess.mean(axis=2)):+.3f} nats."
