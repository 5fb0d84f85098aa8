"""The arms of a trial: which injections stand side by side in one batch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from introbench.records.arm import CONCEPT, IMPACT, NORM, RANDOM, SHAM, Arm
from introbench.steering.injection import Injection, LayerRange, Strength, VectorRecipe, sham

if TYPE_CHECKING:
    from introbench.engine import Arms

IMPACT_SUFFIX = " (impact)"
"""Ends the name of an arm that has the dose of the concept's own, rather than its norm."""

CONCEPTS_PER_BATCH = 12
"""How many concepts share a batch with their random vectors."""

Parts = Sequence[tuple[Sequence[int], "Arms"]]
"""Rows of an arm batch, and the arms that run them side by side."""


@dataclass(frozen=True)
class ArmBatch(Sequence[Injection]):
    """The injections that share a batch, row by row.

    A trial uses a few of the rows, but the engine always runs the whole batch, in its fixed order. So a trial's arms
    stand side by side in one forward pass, and its numbers do not depend on which other trials happen to be in flight.

    Attributes:
        injections: Row by row.
    """

    injections: tuple[Injection, ...]

    @overload
    def __getitem__(self, row: int) -> Injection: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Injection, ...]: ...
    def __getitem__(self, row: int | slice) -> Injection | tuple[Injection, ...]:
        """The injection in a row."""
        return self.injections[row]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.injections)

    def __iter__(self) -> Iterator[Injection]:
        """The injections, row by row."""
        return iter(self.injections)

    def to_text(self) -> str:
        """As JSON text: one value, rather than hundreds that every log event copies."""
        return json.dumps([injection.to_json() for injection in self.injections])

    @classmethod
    def from_text(cls, text: str) -> "ArmBatch":
        """Rebuild a batch from `to_text`'s text."""
        return cls(tuple(Injection.from_json(entry) for entry in json.loads(text)))


@dataclass(frozen=True)
class ArmPlan:
    """Which arms the trials about some concepts have: the sham, a concept's vector, random vectors, control vectors.

    A random vector is a rotation of a concept's vector, and has its dose: a model that senses any perturbation in
    proportion to its dose would otherwise seem to tell concepts from random directions. Concept i uses random vectors
    i, i+1, ... (cyclically), and the first of them is the rotation of the concept's own vector. Each random vector is
    then used equally often, and there are as many independent random vectors as concepts for the contrast between the
    two. A few of the same rotations at the norm of their concepts' vectors are run beside them, one in each trial.

    Attributes:
        vectors: The concepts' vectors.
        layers: Half-open range of steered blocks.
        strength: Scale of the unit vectors.
        random_arms: Random vectors per trial, each of the dose of the concept's vector that it is a rotation of.
        seed: Seed of the random vectors.
        steerings: When injections are on; with two of them, every injection stands in the batch twice.
        controls: Which of `CONTROL_VECTORS` stand beside each concept's.
        stranger: The concept that stands for "other" where there is no other one.
        norm_arms: How many of the random vectors are also run at equal norm; a trial has one of them. There are at most
            as many as concepts, and none without random vectors.
        vector_files: What a log says of the files that the vectors were read from, by concept.
    """

    vectors: tuple[VectorRecipe, ...]
    layers: LayerRange
    strength: Strength
    random_arms: int
    seed: int
    steerings: tuple[str, ...] = ("cache",)
    controls: tuple[str, ...] = ()
    stranger: VectorRecipe | None = None
    norm_arms: int = 0
    vector_files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concepts' words."""
        return tuple(vector.concept for vector in self.vectors)

    @cached_property
    def batch(self) -> ArmBatch:
        """The batch, row by row: the sham; concepts and random vectors of their doses, for each way to steer; the rest.

        The rest are random vectors of the concepts' norms, and control vectors.
        """
        steered = [
            injection
            for steering in self.steerings
            for injection in (
                *(Injection(vector, self.layers, self.strength, steering) for vector in self.vectors),
                *(self._random(number, IMPACT, steering) for number in range(self._rotations)),
            )
        ]
        by_norm = [self._random(number, NORM, self.steerings[0]) for number in range(self._rotations_by_norm)]
        controls = [injection for vector in self.vectors for injection, *_ in self._controls(vector)]
        return ArmBatch((sham(self.layers), *steered, *by_norm, *controls))

    def arms(self, concept: str) -> dict[str, Arm]:
        """A trial's arms by name, with their rows in the batch."""
        index = self.concepts.index(concept)
        arms = {"sham": Arm(SHAM, 0)}
        first = 1
        for number, steering in enumerate(self.steerings):
            suffix = "" if number == 0 else f" {steering}"
            arms[f"concept{suffix}"] = Arm(CONCEPT, first + index, steering=steering)
            for k in range(self.random_arms):
                row = first + len(self.vectors) + (index + k) % self._rotations
                name = f"random {k + 1}{suffix}{IMPACT_SUFFIX}"
                arms[name] = Arm(RANDOM, row, k + 1, steering, matched=IMPACT)
            first += len(self.vectors) + self._rotations
        if self._rotations_by_norm:
            row = first + index % self._rotations_by_norm
            arms["random 1"] = Arm(RANDOM, row, 1, self.steerings[0], matched=NORM)
        first += self._rotations_by_norm + index * 2 * len(self.controls)
        for row, (_, kind, matched) in enumerate(self._controls(self.vectors[index]), start=first):
            name = f"{kind}{IMPACT_SUFFIX}" if matched == IMPACT else kind
            arms[name] = Arm(kind, row, steering=self.steerings[0], matched=matched)
        return arms

    def of_fewer(self, count: int) -> "ArmPlan":
        """A plan of some of the concepts, spread over all, without random vectors of equal norm.

        There would be too few of these for an interval, and those of equal dose say what a verdict needs.

        Args:
            count: How many concepts; the plan stays as it is if it has no more.
        """
        total = len(self.vectors)
        if count >= total:
            return self
        spread = tuple(self.vectors[number * total // count] for number in range(count))
        return replace(self, vectors=spread, norm_arms=0)

    def split(self) -> list["ArmPlan"]:
        """Plans of at most `CONCEPTS_PER_BATCH` concepts each, so that each fits a batch."""
        return [
            replace(
                self,
                vectors=self.vectors[start : start + CONCEPTS_PER_BATCH],
                stranger=self.vectors[0] if start else self.stranger,
            )
            for start in range(0, len(self.vectors), CONCEPTS_PER_BATCH)
        ]

    def _controls(self, vector: VectorRecipe) -> Iterator[tuple[Injection, str, str]]:
        """The injections of control vectors beside a concept's, with kind and matching: by norm, and by impact."""
        for kind in self.controls:
            strength, control = self.strength, vector
            if kind == "negated":
                strength = strength.times(-1)
            elif kind == "other":
                following = self.vectors.index(vector) + 1
                control = self.vectors[following % len(self.vectors)] if len(self.vectors) > 1 else self._other
            else:
                control = replace(vector, seed=self.seed, control=kind)
            by_norm = Injection(control, self.layers, strength, self.steerings[0], like=vector)
            yield by_norm, kind, by_norm.match
            yield replace(by_norm, match=IMPACT), kind, IMPACT

    @property
    def _other(self) -> VectorRecipe:
        assert self.stranger is not None
        return self.stranger

    @property
    def _rotations(self) -> int:
        """How many random vectors of the concepts' doses there are."""
        return max(len(self.vectors), self.random_arms) if self.random_arms else 0

    @property
    def _rotations_by_norm(self) -> int:
        """How many of them are run at the concepts' norms, too."""
        return min(self.norm_arms, len(self.vectors)) if self.random_arms else 0

    def _random(self, number: int, match: str, steering: str) -> Injection:
        """The injection of a random vector: a rotation of a concept's vector, of its dose or norm."""
        concept = self.vectors[number % len(self.vectors)]
        rotated = replace(concept, seed=self.seed, draw=number // len(self.vectors))
        return Injection(rotated, self.layers, self.strength, steering, like=concept, match=match)


def separate_batches(plan: ArmPlan) -> ArmBatch:
    """The arms of any number of concepts as one, in which every batch has a sham of its own."""
    parts = enumerate(plan.split())
    return ArmBatch(tuple(replace(injection, batch=number) for number, part in parts for injection in part.batch))
