"""Layer ranges by strengths: maps of what an injection does to introspection and to every control family.

Layers that are picked because they show most look better than they are. So the best cell is chosen on one half of the
concepts and of the questions and read on the other halves, and the other way round; the map of all cells stands beside
it. Splitting concepts alone would not be enough: whatever chance gives a question in one cell, it gives for all
concepts, so that it would be picked on one half of them and read again on the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import QuestionFactors, TrialFactors
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_line import excess_by_unit, fit_control_line
from introbench.stats.intervals import NOT_MEASURED, Interval, mean_interval, own_rng

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
            and for questions; see `fit_control_line`.
        families: Shift of every family there, that of introspection toward "noticed". Units are concepts.
    """

    document: str
    chosen: tuple[Choice, ...]
    best: Cell
    at_best: float
    excess: Interval
    families: Mapping[str, Interval]


def family_maps(trials: Sequence[SweepTrial]) -> dict[str, Array]:
    """Mean shift of every family, of introspection toward "noticed"; [ranges, strengths, vectors].

    A question without a finite number in a cell leaves that cell without one.
    """
    families = dict.fromkeys(trial.family for trial in trials)
    return {
        family: np.mean([(t.side or 1.0) * t.shift for t in trials if t.family == family], axis=0)
        for family in families
    }


def excess_map(trials: Sequence[SweepTrial], vectors: Sequence[int]) -> Array:
    """Introspection in excess of the control line, [ranges, strengths, vectors]; see `fit_control_line`.

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


def excess_interval(trials: Sequence[SweepTrial], cell: Cell, vectors: Sequence[int], seed: int = 0) -> Interval:
    """The excess in one cell with an interval over vectors and questions; `NOT_MEASURED` if a number is not finite.

    Args:
        trials: Trials of one document.
        cell: Indices of range and strength.
        vectors: Which of the vectors.
        seed: Seed of the bootstrap.
    """
    if not all(np.isfinite(t.shift[cell][list(vectors)]).all() for t in trials):
        return NOT_MEASURED
    rng = own_rng(seed, EXCESS, trials[0].document, *map(str, cell))
    return fit_control_line(_answers(trials, cell, vectors), rng=rng).excess


def interval_in_cell(
    maps: Mapping[str, Array],
    name: str,
    trials: Sequence[SweepTrial],
    cell: Cell,
    vectors: Sequence[int],
    seed: int = 0,
) -> Interval:
    """The interval of one map in one cell: over vectors, and for the excess over questions as well.

    Args:
        maps: Maps of these trials under these vectors, by name.
        name: Which of them.
        trials: Trials of one document.
        cell: Indices of range and strength.
        vectors: Which of the vectors.
        seed: Seed of the bootstrap.
    """
    if name == EXCESS:
        return excess_interval(trials, cell, vectors, seed)
    return _finite_interval(maps[name][cell], own_rng(seed, trials[0].document, name, *map(str, cell)))


def _finite_interval(values: Array, rng: np.random.Generator) -> Interval:
    """Interval of a mean over vectors; those without a finite number are left out."""
    return mean_interval(values[np.isfinite(values)], rng=rng)


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
    moved: dict[str, list[list[float]]] = {t.family: [[] for _ in concepts] for t in trials}
    for choosing, others in (by_concept, by_concept[::-1]):
        for half in (0, 1):
            cell = _best(maps[half][:, :, choosing], usable)
            items = dict.fromkeys(t.item for t in by_question[half])
            chosen.append(Choice(cell, tuple(concepts[i] for i in choosing), tuple(items)))
            read = by_question[1 - half]
            # The two halves of the questions are read in two cells, so their control lines are fitted separately.
            answers += _answers(read, cell, others, suffix=f" {half}")
            for t in read:
                for concept in others:
                    moved[t.family][concept].append((t.side or 1.0) * float(t.shift[cell][concept]))
    excess = excess_map(trials, range(count))
    best = _best(excess, usable)
    return HeldOut(
        document,
        tuple(chosen),
        best,
        float(excess[best].mean()),
        fit_control_line(answers, rng=own_rng(seed, document, EXCESS)).excess,
        {
            family: _finite_interval(np.mean(values, axis=1), own_rng(seed, document, family))
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


def maps(trials: Sequence[SweepTrial], vectors: Sequence[int]) -> dict[str, np.ndarray[Any, Any]]:
    """Every family's map and that of the excess, [ranges, strengths, vectors]."""
    by_family = {family: of_all[:, :, list(vectors)] for family, of_all in family_maps(trials).items()}
    return {EXCESS: excess_map(trials, vectors), **by_family} if len(by_family) > 1 else by_family


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
