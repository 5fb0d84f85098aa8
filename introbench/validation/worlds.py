"""Simulated runs: what an imagined model does to the answers, in numbers, without a model.

A run has nine concepts, a rotation of equal dose for each, and the questions of the introspection task under one
document. Every world has the same ordinary disturbances: each vector pushes and flattens all answers a little,
questions are moved in common, and single answers at random. `introbench.validation.mechanisms` lists what worlds add.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from introbench.analysis.evidence import evidence
from introbench.analysis.excess import excesses
from introbench.analysis.noticed import TrialShift
from introbench.analysis.verdict import Verdict, verdict
from introbench.prompts.schema import SALIENCE
from introbench.records.factors import Plan
from introbench.stats.intervals import Array, Interval

CONCEPTS = 9

FAMILIES = {"introspection": 24, "always_no": 12, "always_yes": 12, "ambiguous": 10, "confusing": 10, SALIENCE: 24}
"""Number of questions by family."""

LEANINGS = {
    "introspection": -2.0,
    "always_no": -3.0,
    "always_yes": 3.0,
    "ambiguous": 0.0,
    "confusing": -1.0,
    SALIENCE: -1.5,
}
"""Mean log-odds of yes without injection, in nats; reversed questions have the opposite sign."""

QUESTION_NOISE, CELL_NOISE = 0.15, 0.25
"""Standard deviations of what all vectors do to a question, and of what one vector does to one question, in nats."""


class Sizes:
    """How large a run is.

    Attributes:
        concepts: Number of concepts.
        families: Number of questions by family.
        kinds: Number of kinds of answers; with several, each question is asked in half of them.
    """

    def __init__(self, concepts: int = CONCEPTS, families: dict[str, int] | None = None, kinds: int = 1) -> None:
        self.concepts = concepts
        self.families = FAMILIES | (families or {})
        self.kinds = kinds


class Run:
    """One simulated run; worlds change its arrays. Shifts are [vectors, questions, kinds], toward yes, in nats.

    Args:
        seed: Seed of all that is drawn.
        sizes: How large it is.

    Attributes:
        draw: Source of randomness.
        family: Family of each question, [questions].
        side: Side of each question, [questions]: 0 on control questions.
        turn: The same with 1 on control questions: the sign with which a question is asked.
        baseline: Log-odds of yes without injection, [questions].
        concepts: Shifts under the concepts' vectors.
        random: Shifts under their rotations of equal dose.
    """

    def __init__(self, seed: int, sizes: Sizes | None = None) -> None:
        self.sizes = sizes = sizes or Sizes()
        self.draw = draw = np.random.default_rng([seed, 18])
        self.family = np.repeat([*sizes.families], [*sizes.families.values()])
        sided = np.isin(self.family, ["introspection", SALIENCE])
        number = np.concatenate([np.arange(count) for count in sizes.families.values()])
        self.turn = np.where(sided & (number % 2 == 1), -1.0, 1.0)
        self.side = np.where(sided, self.turn, 0.0)
        leaning = np.array([LEANINGS[name] for name in self.family])
        self.baseline = self.turn * (leaning + draw.standard_normal(len(leaning)))
        # A question is asked in half of the kinds, and its place decides in which.
        kinds = np.arange(sizes.kinds)
        self.asked = ((number[:, None] // 2 + kinds) % 2 == 0) | (sizes.kinds == 1)
        of_questions = QUESTION_NOISE * draw.standard_normal((len(leaning), 1))
        self.concepts, self.random = (self._ordinary() + of_questions for _ in range(2))

    def is_of(self, *families: str) -> Array:
        """1 on the questions of some families, [questions]."""
        return np.isin(self.family, families).astype(float)

    def each(self, mean: float, spread: float) -> Array:
        """A normal number for each vector, [vectors]."""
        return mean + spread * self.draw.standard_normal(self.sizes.concepts)

    def notice(self, shifts: Array, sizes: Array | float, family: str = "introspection") -> None:
        """Move a family's answers toward "noticed", by a size for each vector [vectors], or for all."""
        shifts += np.multiply.outer(np.broadcast_to(sizes, self.sizes.concepts), self.side * self.is_of(family))[
            ..., None
        ]

    def move(self, shifts: Array, sizes: Array | float, questions: Array) -> None:
        """Move answers toward yes by a size for each vector [vectors] times a number for each question [questions]."""
        shifts += np.multiply.outer(np.broadcast_to(sizes, self.sizes.concepts), questions)[..., None]

    def _ordinary(self) -> Array:
        """Shifts by what every injection does."""
        count, draw = self.sizes.concepts, self.draw
        push, flattening = 0.1 + 0.1 * draw.standard_normal(count), 0.08 + 0.03 * draw.standard_normal(count)
        smooth = push[:, None] - flattening[:, None] * self.baseline
        noise = CELL_NOISE * draw.standard_normal((count, len(self.baseline), self.sizes.kinds))
        return np.asarray(smooth[..., None] + noise)

    def trials(self) -> list[TrialShift]:
        """The run's trials, as a log has them."""
        trials = []
        for concept in range(self.sizes.concepts):
            vectors = [(concept + step) % self.sizes.concepts for step in range(3)]
            for question, kind in np.argwhere(self.asked).tolist():
                trials.append(
                    TrialShift(
                        document="info",
                        family=str(self.family[question]),
                        item=f"question {question:03}",
                        answer_format=f"format {kind}",
                        answer_kind=f"kind {kind}",
                        concept=f"concept {concept}",
                        side=float(self.turn[question]),
                        shift=float(self.concepts[concept, question, kind]),
                        random={f"random {v}": float(self.random[v, question, kind]) for v in vectors},
                        baseline=float(self.baseline[question]),
                    )
                )
        return trials


@dataclass(frozen=True)
class Result:
    """What the instrument says of a simulated run.

    Attributes:
        verdict: The verdict.
        excess: The excess of introspection under the concepts' vectors, in nats.
    """

    verdict: Verdict
    excess: Interval


World = Callable[[Run], None]
"""What an imagined model does beside the ordinary disturbances: it changes a run's shifts."""


def simulate(world: World, seed: int, sizes: Sizes | None = None, dose_ratio: float = 1.0) -> Result:
    """One simulated run, judged by the same analysis as a log.

    Args:
        world: What the model does.
        seed: Seed of the run.
        sizes: How large the run is.
        dose_ratio: Mean dose of the random vectors over that of the concepts' vectors, as measured.
    """
    run = Run(seed, sizes)
    world(run)
    return judge(run.trials(), dose_ratio)


def judge(trials: Sequence[TrialShift], dose_ratio: float = 1.0) -> Result:
    """What the analysis says of trials under the document info, of vectors that are all live."""
    families = list(dict.fromkeys(trial.family for trial in trials))
    plan = Plan(documents=["info"], families=families)
    live = {trial.concept: True for trial in trials}
    numbers = evidence(excesses(trials, plan), trials, plan, live)
    if numbers is None:
        raise ValueError(f"families {families}: expected introspection among them; add its questions")
    return Result(verdict(replace(numbers, dose_ratio=dose_ratio)), numbers.excess)
