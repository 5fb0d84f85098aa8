"""Simulated answers to control and introspection questions, for the tests of the statistics."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from introbench.stats.balanced_answers import Answer, KindAnswers
from introbench.stats.intervals import Interval
from introbench.stats.kind_effects import KindEffects, kind_effects

CONTROL_BASELINES = np.concatenate([np.linspace(-6, -2, 14), np.linspace(2, 6, 12), np.linspace(-1.5, 1.5, 8)])
SIDES = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])
INTROSPECTION_BASELINES = np.array([-4.0, -3.0, -2.5, -1.0, 2.0, 3.5])
ITEMS = [*((f"control {n:02}", 0.0, at) for n, at in enumerate(CONTROL_BASELINES))]
ITEMS += [(f"question {n}", side, at) for n, (side, at) in enumerate(zip(SIDES, INTROSPECTION_BASELINES, strict=True))]

TOGETHER = 20
"""Runs whose curves are fitted together: with more, their arrays outgrow the processor's cache."""

SPREADS = {"units": (1.0, 0.2, 0.3), "questions": (0.1, 0.6, 0.2), "noise": (0.1, 0.1, 0.5)}
"""Standard deviations, in nats, of what units, questions and single cells add, by which of them prevails."""

Shift = Callable[[int, float, float], float]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answers(shift: Shift, units: int = 9, kind: str = "words", labels: str = "a-b") -> list[Answer]:
    """Answers of every unit; the shift is given by unit, side and baseline."""
    return [
        Answer(f"unit {unit}", item, kind, labels, side, at, shift(unit, side, at))
        for unit in range(units)
        for item, side, at in ITEMS
    ]


def noisy(seed: int, units: int = 9, spread: float = 0.3, **kwargs: str) -> list[Answer]:
    """Answers that a push and a flattening move, with noise of their own."""
    draw = rng(seed)
    return answers(lambda unit, side, at: 0.4 - 0.2 * at + spread * draw.standard_normal(), units, **kwargs)


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.estimate, interval.high


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


class Effect(NamedTuple):
    """What an injection does to all answers alike, and what of it is noticed: in all runs, or in each, [runs]."""

    bias: np.ndarray | float
    flattening: np.ndarray | float
    noticed: np.ndarray | float


class Worlds:
    """Many simulated runs at once. Each has 34 control questions, six on introspection, and maybe some on salience.

    All runs have the same baselines, so that their curves have the same knots and can be fitted together, each unit's
    by itself; intervals are made run by run. `answers` writes one run down as answers, with which the whole path can be
    held against this short cut.
    """

    def __init__(self, draw: np.random.Generator, runs: int, spread: float, salient: int = 0) -> None:
        self.draw, self.runs = draw, runs
        ranges = ((-6, -2, 14), (2, 6, 12), (-1.5, 1.5, 8), (-5, -1, 4), (1, 5, 2), (-4, 1, salient))
        self.sides = np.concatenate([np.zeros(34), SIDES, np.resize([1.0, -1.0], salient)])
        self.baselines = np.concatenate([draw.uniform(low, high, size) for low, high, size in ranges])
        self.baselines[40:] *= self.sides[40:]
        self.of_questions = spread * draw.standard_normal((runs, len(self.sides)))

    def shifts(self, of_units: np.ndarray, noise: float, effect: Effect, own: float = 0.0) -> np.ndarray:
        """Shifts [runs, units, questions] of vectors with these effects [runs, units] on what is noticed.

        Args:
            of_units: How much more than others each vector is noticed.
            noise: Standard deviation of what one vector does to one question.
            effect: What all vectors do, 30% more or less.
            own: Standard deviation of what these vectors do to a question, and other populations do not.
        """
        count, size = of_units.shape[1], len(self.sides)
        bias, flattening, noticed = (np.reshape(part, (-1, 1, 1)) for part in effect)
        vary = 1 + 0.3 * self.draw.standard_normal((2, self.runs, count, 1))
        shifts = bias * vary[0] - flattening * vary[1] * self.baselines
        shifts = shifts + self.sides * (noticed + of_units[..., None])
        shifts += (self.of_questions + own * self.draw.standard_normal((self.runs, size)))[:, None]
        return shifts + noise * self.draw.standard_normal((self.runs, count, size))

    def effects(self, shifts: np.ndarray, questions: slice = slice(34, 40)) -> list[KindEffects]:
        """Excess over the control questions, bias and flattening in each run, of introspection or other questions."""
        blocks = [shifts[start : start + TOGETHER] for start in range(0, len(shifts), TOGETHER)]
        return [effects for block in blocks for effects in self._fitted_together(block, questions)]

    def _fitted_together(self, shifts: np.ndarray, questions: slice) -> list[KindEffects]:
        runs, count, size = shifts.shape
        baselines = np.broadcast_to(self.baselines, (runs * count, size))
        of_all = shifts.reshape(-1, size)
        numbers = np.arange(size)
        kind = KindAnswers(
            numbers[:34],
            numbers[questions],
            self.sides[questions],
            baselines[:, :34],
            of_all[:, :34],
            baselines[:, questions],
            of_all[:, questions],
        )
        fit = kind_effects(kind, range(34), numbers[questions].tolist())
        masks = (np.arange(runs * count) // count == run for run in range(runs))
        return [KindEffects(*(part.part(mask, 1.0) for part in fit)) for mask in masks]

    def answers(self, shifts: np.ndarray, run: int) -> list[Answer]:
        """The answers of one run; questions are named so that their order is that of the columns."""
        return [
            Answer(f"unit {unit}", f"{number:02}", "words", "a-b", float(side), float(at), float(shift))
            for unit, of_unit in enumerate(shifts[run])
            for number, (side, at, shift) in enumerate(zip(self.sides, self.baselines, of_unit, strict=True))
        ]
