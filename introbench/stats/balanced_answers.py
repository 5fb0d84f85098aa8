"""Answers to control and introspection questions, balanced so that every unit has the same questions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from introbench.stats.intervals import Array
from introbench.stats.two_way_interval import Mask

FEWEST_CONTROLS = 3
"""With fewer control questions there is no line without any one of them."""


@dataclass(frozen=True)
class Answer:
    """One question, asked under one injection and under the sham.

    Attributes:
        unit: The injected vector: an exchangeable unit.
        item: The question.
        kind: How it is answered ("words", "digits"); lines are fitted per kind.
        labels: Which assignment of labels within the kind ("a-b", "b-a"). A question's numbers are averaged over the
            kind's assignments, which cancels a pull toward a label.
        sign: +1 where a yes, -1 where a no says that something was noticed; 0 on control questions.
        baseline: Log-odds of yes under the sham, in nats.
        shift: Log-odds of yes under the injection minus the baseline, in nats, toward yes whatever the sign; NaN if
            there is no finite number.
    """

    unit: str
    item: str
    kind: str
    labels: str
    sign: float
    baseline: float
    shift: float


@dataclass(frozen=True)
class KindAnswers:
    """The answers of one kind, all questions for all units.

    Attributes:
        controls: Its control questions, by number.
        questions: Its introspection questions, by number.
        signs: Signs of its introspection questions.
        at: Baselines of the control questions, [units, controls].
        moved: Shifts of the control questions.
        asked_at: Baselines of the introspection questions, [units, questions].
        asked: Shifts of the introspection questions.
    """

    controls: NDArray[np.intp]
    questions: NDArray[np.intp]
    signs: Array
    at: Array
    moved: Array
    asked_at: Array
    asked: Array

    @property
    def has_line(self) -> bool:
        """Whether a line and an excess can be told, whichever one control question is left out."""
        if self.at.shape[1] < FEWEST_CONTROLS or not self.asked.size:
            return False
        order = np.sort(self.at, axis=1)
        least = 1e-9 * np.abs(order).max()
        return bool(min((order[:, -1] - order[:, 1]).min(), (order[:, -2] - order[:, 0]).min()) > least)


@dataclass(frozen=True)
class BalancedAnswers:
    """Balanced answers of one or two populations of units.

    Attributes:
        kinds: Those with a line, by name.
        without_line: Names of the others.
        population: Which population each unit is from, [units].
        missing: See `Confusion`.
    """

    kinds: dict[str, KindAnswers]
    without_line: tuple[str, ...]
    population: NDArray[np.intp]
    missing: int

    @property
    def controls(self) -> list[int]:
        """Control questions of any kind, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.controls})

    @property
    def questions(self) -> list[int]:
        """Introspection questions of any kind, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.questions})


def with_questions(kind: KindAnswers, mask: Mask) -> KindAnswers:
    """A kind with some of its introspection questions."""
    return replace(
        kind,
        questions=kind.questions[mask],
        signs=kind.signs[mask],
        asked_at=kind.asked_at[:, mask],
        asked=kind.asked[:, mask],
    )


def balanced(populations: Sequence[Sequence[Answer]]) -> BalancedAnswers:
    """Average label assignments and repeats, and leave every unit with the same questions."""
    keyed = [((which, a.unit), a) for which, answers in enumerate(populations) for a in answers]
    signs = _signs([a for _, a in keyed])
    units = sorted({unit for unit, _ in keyed})
    kinds = sorted({a.kind for _, a in keyed})
    items = sorted(signs)
    labels = sorted({a.labels for _, a in keyed})
    places = [{name: number for number, name in enumerate(names)} for names in (kinds, items, units, labels)]
    cells = [(places[0][a.kind], places[1][a.item], places[2][u], places[3][a.labels]) for u, a in keyed]
    shape = (len(kinds), len(items), len(units), len(labels))
    baseline, shift = _cell_means(cells, [(a.baseline, a.shift) for _, a in keyed], shape)
    planned = np.zeros(shape[:2], dtype=bool)
    planned[[c[0] for c in cells], [c[1] for c in cells]] = True

    population = np.array([which for which, _ in units], dtype=np.intp)
    sign = np.array([signs[item] for item in items])
    usable = np.isfinite(shift)
    kept_units = _units_with_answers(usable, sign != 0, population)
    kept = planned & usable[:, :, kept_units].all(axis=2)
    found = {}
    for number, name in enumerate(kinds):
        c, q = (np.flatnonzero(kept[number] & role) for role in (sign == 0, sign != 0))
        b, s = (values[number][:, kept_units].T for values in (baseline, shift))
        found[name] = KindAnswers(c, q, sign[q], b[:, c], s[:, c], b[:, q], s[:, q])
    return BalancedAnswers(
        kinds={name: kind for name, kind in found.items() if kind.has_line},
        without_line=tuple(name for name, kind in found.items() if not kind.has_line),
        population=population[kept_units],
        missing=int(planned.sum()) * len(units) - int(kept.sum()) * int(kept_units.sum()),
    )


def _units_with_answers(usable: Mask, introspection: Mask, population: NDArray[np.intp]) -> Mask:
    """Units that answered some introspection and some control question of each kind that every population answered.

    Args:
        usable: Which answers there are, [kinds, items, units].
        introspection: Which items are introspection questions.
        population: Which population each unit is from.
    """
    kept = np.ones(len(population), dtype=bool)
    for role in (introspection, ~introspection):
        for answers in usable[:, role]:
            answered = np.any(answers, axis=0)
            if len(set(population[answered])) == len(set(population)):
                kept &= answered
    return kept


def _signs(answers: Sequence[Answer]) -> dict[str, float]:
    """The sign of each question."""
    signs: dict[str, float] = {}
    for answer in answers:
        if answer.sign not in (-1, 0, 1) or signs.setdefault(answer.item, answer.sign) != answer.sign:
            raise ValueError(f"question {answer.item!r}: expected one sign, -1, 0 or 1, got {answer.sign}")
    return signs


def _cell_means(
    cells: Sequence[tuple[int, int, int, int]], numbers: Sequence[tuple[float, float]], shape: tuple[int, int, int, int]
) -> tuple[Array, Array]:
    """Baselines and shifts, [kinds, items, units]; NaN without a finite number for each of the kind's assignments."""
    belongs = np.zeros((shape[0], shape[3]), dtype=bool)
    belongs[[c[0] for c in cells], [c[3] for c in cells]] = True
    finite = sorted((c, n) for c, n in zip(cells, numbers, strict=True) if math.isfinite(n[0] + n[1]))
    where = tuple(np.array([c for c, _ in finite], dtype=np.intp).reshape(-1, 4).T)
    sums = np.zeros((*shape, 3))
    np.add.at(sums, where, np.array([(*n, 1.0) for _, n in finite]).reshape(-1, 3))
    with np.errstate(invalid="ignore"):
        means = sums[..., :2] / sums[..., 2:]
    assigned = np.where(belongs[:, None, None, :, None], means, 0.0).sum(axis=3)
    assigned /= belongs.sum(axis=1)[:, None, None, None]
    return assigned[..., 0], assigned[..., 1]
