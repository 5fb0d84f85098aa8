"""Layer ranges by strengths: maps of what an injection does to introspection and to every control family.

Layers that are picked because they show most look better than they are. So the best cell is chosen on one half of the
concepts and of the questions and read on the other halves, and the other way round. Splitting concepts alone would not
be enough: whatever chance gives a question in one cell, it gives for all concepts, so that it would be picked on one
half of them and read again on the other.

The map of all cells stands beside it. Its intervals allow for few concepts and few questions, and it marks only cells
whose intervals still exclude 0 when those of all cells are to hold together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import QuestionFactors, TrialFactors
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_curve import excess_by_unit, fit_control_curve
from introbench.stats.intervals import NOT_MEASURED, Interval, own_rng
from introbench.stats.simultaneous import excludes_zero, hold_together
from introbench.stats.two_way_means import QuestionAnswer, interval_of_means, unit_means

Array = NDArray[np.float64]

BROKEN = 0.5
"""Control questions break where they move, on average, by this share of their distance from even odds."""

EXCESS = "excess"
"""Name of the map of introspection's excess over the control line."""


@dataclass(frozen=True)
class SweepTrial:
    """One question in every cell of the grid.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: The question.
        kind: Kind of answer.
        labels: Its answer format.
        side: +1 where a yes, -1 where a no says that something was noticed; 0 on control questions.
        baseline: Log-odds of yes under the sham of each range of layers, [ranges], in nats.
        shift: Log-odds of yes under the injection minus the baseline, [ranges, strengths, vectors], in nats; NaN if not
            finite.
    """

    document: str
    family: str
    item: str
    kind: str
    labels: str
    side: float
    baseline: Array
    shift: Array

    @property
    def noticed(self) -> Array:
        """The shifts, on introspection questions positive where they say "noticed"."""
        return (self.side or 1.0) * self.shift


Cell = tuple[int, int]
"""Indices of a range and of a strength."""


@dataclass(frozen=True)
class Choice:
    """The cell with the largest mean excess for some concepts and questions.

    Attributes:
        cell: The cell.
        concepts: The concepts that chose it.
        items: The questions that chose it.
    """

    cell: Cell
    concepts: tuple[str, ...]
    items: tuple[str, ...]


@dataclass(frozen=True)
class HeldOut:
    """What the best cell shows for concepts and questions that had no part in choosing it.

    Attributes:
        document: Document in the first turn.
        chosen: The cells that were chosen: by each half of the concepts, on each half of the questions.
        best: Cell with the largest mean excess over all concepts and questions; its excess is biased upward.
        at_best: Mean excess in that cell, in nats.
        excess: Excess of every concept and question in the cell that the others chose. The interval allows for concepts
            and for questions; see `fit_control_curve`.
        families: Shift of every family there, that of introspection toward "noticed"; likewise.
    """

    document: str
    chosen: tuple[Choice, ...]
    best: Cell
    at_best: float
    excess: Interval
    families: Mapping[str, Interval]


@dataclass(frozen=True)
class MapCell:
    """One cell of a map.

    Attributes:
        interval: Mean over vectors with its 95% interval.
        is_marked: Whether it differs from 0, allowing for how many cells the map has.
    """

    interval: Interval
    is_marked: bool


def family_maps(trials: Sequence[SweepTrial]) -> dict[str, Array]:
    """Mean shift of every family, of introspection toward "noticed"; [ranges, strengths, vectors].

    Plain and reversed questions are averaged by themselves first, and count alike; so are answer formats. A question
    without a finite number in a cell leaves that cell without one.
    """
    maps = {}
    for family in dict.fromkeys(trial.family for trial in trials):
        by_format: dict[str, dict[float, list[Array]]] = {}
        for t in trials:
            if t.family == family:
                by_format.setdefault(t.labels, {}).setdefault(t.side, []).append(t.noticed)
        of_formats = [[np.mean(of_side, axis=0) for of_side in sides.values()] for sides in by_format.values()]
        maps[family] = np.mean([np.mean(of_sides, axis=0) for of_sides in of_formats], axis=0)
    return maps


def excess_map(trials: Sequence[SweepTrial], vectors: Sequence[int]) -> Array:
    """Introspection in excess of the control line, [ranges, strengths, vectors]; see `fit_control_curve`.

    Args:
        trials: Trials of one document.
        vectors: Which of the vectors.
    """
    ranges, strengths, _ = trials[0].shift.shape
    excess = np.full((ranges, strengths, len(vectors)), np.nan)
    for row in range(ranges):
        for column in range(strengths):
            by_unit = excess_by_unit(_answers(trials, (row, column), vectors))
            excess[row, column] = [by_unit.get(str(v), np.nan) for v in vectors]
    # If a question were lost in some cells only, these would differ from the others for want of it.
    complete = np.all([np.isfinite(t.shift[:, :, list(vectors)]) for t in trials], axis=0)
    return np.where(complete, excess, np.nan)


def _answers(trials: Sequence[SweepTrial], cell: Cell, vectors: Sequence[int], suffix: str = "") -> list[Answer]:
    """The answers of one cell, with a suffix to the kinds of answers, by which lines are told apart."""
    return [
        Answer(str(v), t.item, t.kind + suffix, t.labels, t.side, float(t.baseline[cell[0]]), float(t.shift[cell][v]))
        for t in trials
        for v in vectors
    ]


def map_cells(name: str, trials: Sequence[SweepTrial], vectors: Sequence[int], seed: int = 0) -> dict[Cell, MapCell]:
    """The cells of one map, with intervals over vectors and questions.

    Args:
        name: Name of a question family, or `EXCESS`.
        trials: Trials of one document.
        vectors: Which of the vectors.
        seed: Seed of the bootstrap.
    """
    cells = list(np.ndindex(trials[0].shift.shape[:2]))
    intervals = [interval_in_cell(name, trials, cell, vectors, seed) for cell in cells]
    return {
        cell: MapCell(interval, excludes_zero(together))
        for cell, interval, together in zip(cells, intervals, hold_together(intervals), strict=True)
    }


def interval_in_cell(
    name: str,
    trials: Sequence[SweepTrial],
    cell: Cell,
    vectors: Sequence[int],
    seed: int = 0,
) -> Interval:
    """The interval of one map in one cell, over vectors and questions.

    The excess is `NOT_MEASURED` if any number of the cell is not finite; for a family, vectors without finite numbers
    are left out.

    Args:
        name: Name of a question family, or `EXCESS`.
        trials: Trials of one document.
        cell: Indices of range and strength.
        vectors: Which of the vectors.
        seed: Seed of the bootstrap.
    """
    rng = own_rng(seed, trials[0].document, name, *map(str, cell))
    if name == EXCESS:
        if not all(np.isfinite(t.shift[cell][list(vectors)]).all() for t in trials):
            return NOT_MEASURED
        return fit_control_curve(_answers(trials, cell, vectors), rng=rng).excess
    of_family = [t for t in trials if t.family == name]
    finite = [v for v in vectors if all(np.isfinite(t.shift[cell][v]) for t in of_family)]
    answers = [
        QuestionAnswer(str(v), t.item, t.side, t.labels, float(t.noticed[cell][v])) for t in of_family for v in finite
    ]
    return interval_of_means([unit_means(answers)], rng=rng)


def broken_from(trials: Sequence[SweepTrial], vectors: Sequence[int]) -> list[int | None]:
    """For each range the first strength at which the control questions break; None if they never do.

    They break where the questions with a known answer move by `BROKEN` of their distance from even odds.
    """
    known = [t for t in trials if t.family in ("always_no", "always_yes")]
    if not known:
        return [None] * len(trials[0].baseline)
    moved = np.mean([np.abs(t.shift[:, :, list(vectors)]).mean(axis=2) for t in known], axis=0)
    distance = np.mean([np.abs(t.baseline) for t in known], axis=0)
    # A comparison with NaN is false: where numbers are no longer finite, questions break as well.
    broken = ~(moved < BROKEN * distance[:, None])
    return [int(row.argmax()) if row.any() else None for row in broken]


def held_out(document: str, trials: Sequence[SweepTrial], concepts: Sequence[str], *, seed: int = 0) -> HeldOut | None:
    """Choose the best cell on half of the concepts and questions, and read it on the other halves, all four ways.

    Args:
        document: Whose trials these are.
        trials: All of them.
        concepts: The concepts, which are the first of the vectors.
        seed: Seed of the halves and of the bootstrap.

    Returns:
        None with fewer than two concepts, or if no cell has a finite excess on both halves of the questions.
    """
    count = len(concepts)
    if count < 2:
        return None
    order = own_rng(seed, "halves").permutation(count)
    by_concept = [sorted(order[: count // 2].tolist()), sorted(order[count // 2 :].tolist())]
    by_question = _question_halves(trials, seed)
    maps = [excess_map(half, range(count)) if half else np.full((1, 1, count), np.nan) for half in by_question]
    usable = np.asarray(np.isfinite(maps[0]).all(axis=2) & np.isfinite(maps[1]).all(axis=2))
    if not usable.any():
        return None
    chosen: list[Choice] = []
    answers: list[Answer] = []
    moved: dict[str, list[QuestionAnswer]] = {t.family: [] for t in trials}
    for choosing, others in (by_concept, by_concept[::-1]):
        for half in (0, 1):
            cell = _best(maps[half][:, :, choosing], usable)
            items = dict.fromkeys(t.item for t in by_question[half])
            chosen.append(Choice(cell, tuple(concepts[i] for i in choosing), tuple(items)))
            read = by_question[1 - half]
            # The two halves of the questions are read in two cells, so their control lines are fitted separately.
            answers += _answers(read, cell, others, suffix=f" {half}")
            for t in read:
                moved[t.family] += [
                    QuestionAnswer(str(concept), t.item, t.side, t.labels, float(t.noticed[cell][concept]))
                    for concept in others
                ]
    excess = excess_map(trials, range(count))
    best = _best(excess, usable)
    return HeldOut(
        document,
        tuple(chosen),
        best,
        float(excess[best].mean()),
        fit_control_curve(answers, rng=own_rng(seed, document, EXCESS)).excess,
        {
            family: interval_of_means([unit_means(values)], rng=own_rng(seed, document, family))
            for family, values in moved.items()
        },
    )


def _question_halves(trials: Sequence[SweepTrial], seed: int) -> list[list[SweepTrial]]:
    """Two halves of the questions, with half of every family, and of plain and of reversed questions, in both."""
    alike: dict[tuple[str, float], list[str]] = {}
    for item, family, side in sorted({(t.item, t.family, t.side) for t in trials}):
        alike.setdefault((family, side), []).append(item)
    rng = own_rng(seed, "questions")
    half_of: dict[str, int] = {}
    for items in alike.values():
        for number in rng.permutation(len(items)):
            half_of[items[number]] = len(half_of) % 2
    return [[t for t in trials if half_of[t.item] == half] for half in (0, 1)]


def _best(excess: Array, usable: NDArray[np.bool_]) -> Cell:
    """The usable cell with the largest mean excess."""
    means = np.where(usable, excess.mean(axis=2), -np.inf)
    row, column = np.unravel_index(int(means.argmax()), means.shape)
    return int(row), int(column)


def map_names(trials: Sequence[SweepTrial]) -> list[str]:
    """The names of the maps of one document: that of the excess, if there are control questions, then the families."""
    families = list(dict.fromkeys(trial.family for trial in trials))
    return [EXCESS, *families] if len(families) > 1 else families


def group_trials(scored: Sequence[ScoredTrial]) -> dict[str, list[SweepTrial]]:
    """The trials of each document, sorted, from the samples' metadata and their scores'."""
    trials = [_trial(TrialFactors.from_json(factors).question, exact) for factors, exact in scored if exact]
    trials.sort(key=lambda t: (t.document, t.family, t.item, t.labels))
    grouped: dict[str, list[SweepTrial]] = {}
    for trial in trials:
        grouped.setdefault(trial.document, []).append(trial)
    return grouped


def _trial(question: QuestionFactors, exact: Mapping[str, Any]) -> SweepTrial:
    return SweepTrial(
        document=question.document,
        family=question.family,
        item=question.question,
        kind=question.answer_kind,
        labels=question.answer_format,
        side=question.side if question.family == "introspection" else 0.0,
        baseline=np.array(exact["baseline"], dtype=float),
        shift=np.array(exact["shift"], dtype=float),
    )
