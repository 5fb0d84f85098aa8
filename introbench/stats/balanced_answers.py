"""Answers to control and introspection questions, balanced so that all units have answered the same questions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from introbench.stats.intervals import Array, Mask

FEWEST_CONTROLS = 3
"""Control questions that a line needs, so that two remain when any one is left out."""

LEAST_RANGE = 1e-9
"""Range of the control baselines, as a share of their size, below which they are equal and a line has no slope."""


@dataclass(frozen=True)
class Answer:
    """One question, answered under one injection and under the sham.

    Attributes:
        unit: The injected vector, which is an exchangeable unit.
        item: The question.
        kind: How it is answered ("words", "digits"); lines are fitted per kind.
        labels: Which assignment of labels within the kind ("a-b", "b-a"). A question's numbers are averaged over the
            kind's assignments, which cancels a pull toward a label.
        side: +1 where a yes, -1 where a no says that something was noticed; 0 on control questions.
        baseline: Log-odds of yes under the sham, in nats.
        shift: Log-odds of yes under the injection minus the baseline, in nats, toward yes whatever the side; NaN if
            it has no finite value.
    """

    unit: str
    item: str
    kind: str
    labels: str
    side: float
    baseline: float
    shift: float


@dataclass(frozen=True)
class KindAnswers:
    """The answers of one kind: every question of the kind, answered by every unit. Baselines and shifts are in nats.

    Attributes:
        control_questions: The control questions by number, [controls].
        introspection_questions: The introspection questions by number, [questions].
        sides: The sides of the introspection questions, [questions].
        control_baselines: Baselines of the control questions, [units, controls].
        control_shifts: Shifts of the control questions, [units, controls].
        introspection_baselines: Baselines of the introspection questions, [units, questions].
        introspection_shifts: Shifts of the introspection questions, [units, questions].
    """

    control_questions: NDArray[np.intp]
    introspection_questions: NDArray[np.intp]
    sides: Array
    control_baselines: Array
    control_shifts: Array
    introspection_baselines: Array
    introspection_shifts: Array

    @property
    def has_line(self) -> bool:
        """Whether a line can be fitted and an excess over it computed, whichever control question is left out."""
        if self.control_baselines.shape[1] < FEWEST_CONTROLS or not self.introspection_shifts.size:
            return False
        ordered = np.sort(self.control_baselines, axis=1)
        least = LEAST_RANGE * np.abs(ordered).max()
        without_lowest, without_highest = ordered[:, -1] - ordered[:, 1], ordered[:, -2] - ordered[:, 0]
        return bool(min(without_lowest.min(), without_highest.min()) > least)

    def with_questions(self, mask: Mask) -> "KindAnswers":
        """The same answers with some of the introspection questions alone, which a mask [questions] selects."""
        return replace(
            self,
            introspection_questions=self.introspection_questions[mask],
            sides=self.sides[mask],
            introspection_baselines=self.introspection_baselines[:, mask],
            introspection_shifts=self.introspection_shifts[:, mask],
        )


@dataclass(frozen=True)
class BalancedAnswers:
    """Balanced answers of one or more populations of units.

    Attributes:
        kinds: The kinds of answers that have a line, by name.
        without_line: Names of the other kinds.
        population: The number of the population that each unit is from, [units].
        missing: Number of answers, by unit, question and kind, that were planned and cannot be used.
    """

    kinds: dict[str, KindAnswers]
    without_line: tuple[str, ...]
    population: NDArray[np.intp]
    missing: int

    @property
    def control_questions(self) -> list[int]:
        """Control questions of any kind with a line, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.control_questions})

    @property
    def introspection_questions(self) -> list[int]:
        """Introspection questions of any kind with a line, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.introspection_questions})


def balance(populations: Sequence[Sequence[Answer]]) -> BalancedAnswers:
    """Average label assignments and repeated answers, and leave every unit with the same questions.

    A unit that answered none of a kind's introspection questions, or none of its control questions, is left out, so
    that it does not take the others with it. Then a question that is missing for one unit in a kind is left out of
    that kind for all of them.

    Args:
        populations: The answers of each population, in any order. Units of the same name in two populations are two
            units.

    Raises:
        ValueError: A side is not -1, 0 or 1, or one question has two sides.
    """
    keyed = [((number, answer.unit), answer) for number, answers in enumerate(populations) for answer in answers]
    side_by_item = _side_by_item([answer for _, answer in keyed])
    units = sorted({unit for unit, _ in keyed})
    kinds = sorted({answer.kind for _, answer in keyed})
    items = sorted(side_by_item)
    labels = sorted({answer.labels for _, answer in keyed})
    kind_number, item_number, unit_number, labels_number = (
        {name: number for number, name in enumerate(names)} for names in (kinds, items, units, labels)
    )
    cells = [
        (kind_number[answer.kind], item_number[answer.item], unit_number[unit], labels_number[answer.labels])
        for unit, answer in keyed
    ]
    shape = (len(kinds), len(items), len(units), len(labels))
    baseline, shift = _cell_means(cells, [(answer.baseline, answer.shift) for _, answer in keyed], shape)
    planned = np.zeros(shape[:2], dtype=bool)
    planned[[cell[0] for cell in cells], [cell[1] for cell in cells]] = True

    population = np.array([number for number, _ in units], dtype=np.intp)
    side = np.array([side_by_item[item] for item in items])
    usable = np.isfinite(shift)
    kept_units = _units_with_answers(usable, side != 0, population)
    kept = planned & usable[:, :, kept_units].all(axis=2)
    by_kind = {}
    for number, name in enumerate(kinds):
        controls, questions = (np.flatnonzero(kept[number] & role) for role in (side == 0, side != 0))
        baselines, shifts = (values[number][:, kept_units].T for values in (baseline, shift))
        by_kind[name] = KindAnswers(
            control_questions=controls,
            introspection_questions=questions,
            sides=side[questions],
            control_baselines=baselines[:, controls],
            control_shifts=shifts[:, controls],
            introspection_baselines=baselines[:, questions],
            introspection_shifts=shifts[:, questions],
        )
    return BalancedAnswers(
        kinds={name: kind for name, kind in by_kind.items() if kind.has_line},
        without_line=tuple(name for name, kind in by_kind.items() if not kind.has_line),
        population=population[kept_units],
        missing=int(planned.sum()) * len(units) - int(kept.sum()) * int(kept_units.sum()),
    )


def _units_with_answers(usable: Mask, introspection: Mask, population: NDArray[np.intp]) -> Mask:
    """Units that answered some introspection and some control question of each kind that every population answered.

    Args:
        usable: Which answers there are, [kinds, items, units].
        introspection: Which items are introspection questions, [items].
        population: The number of the population that each unit is from, [units].

    Returns:
        [units].
    """
    kept = np.ones(len(population), dtype=bool)
    for role in (introspection, ~introspection):
        for of_kind in usable[:, role]:
            answered = np.any(of_kind, axis=0)
            if len(set(population[answered])) == len(set(population)):
                kept &= answered
    return kept


def _side_by_item(answers: Sequence[Answer]) -> dict[str, float]:
    """The side of each question."""
    sides: dict[str, float] = {}
    for answer in answers:
        if answer.side not in (-1, 0, 1) or sides.setdefault(answer.item, answer.side) != answer.side:
            raise ValueError(f"question {answer.item!r}: expected one side, -1, 0 or 1, got {answer.side}")
    return sides


def _cell_means(
    cells: Sequence[tuple[int, int, int, int]], numbers: Sequence[tuple[float, float]], shape: tuple[int, int, int, int]
) -> tuple[Array, Array]:
    """Mean baseline and mean shift of each unit on each question, in each kind of answer.

    Args:
        cells: For each answer the numbers of its kind, item, unit and label assignment.
        numbers: For each answer its baseline and shift.
        shape: How many kinds, items, units and label assignments there are.

    Returns:
        Baselines and shifts, each [kinds, items, units]; NaN unless every assignment of the kind has a finite number.
    """
    belongs = np.zeros((shape[0], shape[3]), dtype=bool)
    belongs[[cell[0] for cell in cells], [cell[3] for cell in cells]] = True
    pairs = np.array(numbers, dtype=float).reshape(-1, 2)
    finite = np.isfinite(pairs).all(axis=1)
    pairs = pairs[finite]
    cell = np.ravel_multi_index(tuple(np.array(cells, dtype=np.intp).reshape(-1, 4)[finite].T), shape)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], cell))  # because a sum of three or more depends on their order
    sums = [np.bincount(cell[order], pairs[order, column], math.prod(shape)) for column in range(2)]
    with np.errstate(invalid="ignore"):
        means = (np.stack(sums, axis=-1) / np.bincount(cell, minlength=math.prod(shape))[:, None]).reshape(*shape, 2)
    over_labels = np.where(belongs[:, None, None, :, None], means, 0.0).sum(axis=3)
    over_labels /= belongs.sum(axis=1)[:, None, None, None]
    return over_labels[..., 0], over_labels[..., 1]
