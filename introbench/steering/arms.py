"""The arms of a trial: which injections stand side by side in one batch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from introbench.engine import Arms
from introbench.records.arm import CONCEPT, IMPACT, RANDOM, SHAM, Arm
from introbench.steering.injection import Injection, LayerRange, Strength, VectorRecipe, sham

IMPACT_SUFFIX = " (impact)"
"""Ends the name of an arm that has the dose of the concept's own, rather than its norm."""

CONCEPTS_PER_BATCH = 12
"""How many concepts share a batch with their random vectors: at most 25 rows."""

Parts = Sequence[tuple[Sequence[int], Arms]]
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

    Concept i uses random vectors i, i+1, ... (cyclically). Each is then used equally often, and there are as many
    independent random vectors as concepts for the contrast between the two.

    Attributes:
        vectors: The concepts' vectors.
        layers: Half-open range of steered blocks.
        strength: Scale of the unit vectors.
        random_arms: Random vectors per trial.
        seed: Seed of the random vectors.
        steerings: When injections are on; with two of them, every injection stands in the batch twice.
        controls: Which of `CONTROL_VECTORS` stand beside each concept's.
        stranger: The concept that stands for "other" where there is no other one.
    """

    vectors: tuple[VectorRecipe, ...]
    layers: LayerRange
    strength: Strength
    random_arms: int
    seed: int
    steerings: tuple[str, ...] = ("cache",)
    controls: tuple[str, ...] = ()
    stranger: VectorRecipe | None = None

    @property
    def concepts(self) -> tuple[str, ...]:
        """The concepts' words."""
        return tuple(vector.concept for vector in self.vectors)

    @cached_property
    def batch(self) -> ArmBatch:
        """The batch, row by row: the sham; then concepts and random vectors, for each way to steer."""
        rotated = [
            replace(source, seed=self.seed, draw=index // len(self.vectors))
            for index, source in enumerate(self._rotated_vectors)
        ]
        steered = [
            Injection(vector, self.layers, self.strength, steering)
            for steering in self.steerings
            for vector in (*self.vectors, *rotated)
        ]
        controls = [injection for vector in self.vectors for injection, *_ in self._controls(vector)]
        return ArmBatch((sham(self.layers), *steered, *controls))

    def arms(self, concept: str) -> dict[str, Arm]:
        """A trial's arms by name, with their rows in the batch."""
        index = self.concepts.index(concept)
        pool = len(self._rotated_vectors)
        arms = {"sham": Arm(SHAM, 0)}
        for number, steering in enumerate(self.steerings):
            first = 1 + number * (len(self.vectors) + pool)
            suffix = "" if number == 0 else f" {steering}"
            arms[f"concept{suffix}"] = Arm(CONCEPT, first + index, steering=steering)
            for k in range(self.random_arms):
                row = first + len(self.vectors) + (index + k) % pool
                arms[f"random {k + 1}{suffix}"] = Arm(RANDOM, row, k + 1, steering)
        first = len(self.batch) - len(self.vectors) * 2 * len(self.controls)
        for number, (_, kind, matched) in enumerate(self._controls(self.vectors[index])):
            row = first + index * 2 * len(self.controls) + number
            name = f"{kind}{IMPACT_SUFFIX}" if matched == IMPACT else kind
            arms[name] = Arm(kind, row, steering=self.steerings[0], matched=matched)
        return arms

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
    def _rotated_vectors(self) -> list[VectorRecipe]:
        """Whose vector each random vector is a rotation of."""
        if self.random_arms == 0:
            return []
        size = max(len(self.vectors), self.random_arms)
        return [self.vectors[index % len(self.vectors)] for index in range(size)]


def separate_batches(plan: ArmPlan) -> ArmBatch:
    """The arms of any number of concepts as one, in which every batch has a sham of its own."""
    parts = enumerate(plan.split())
    return ArmBatch(tuple(replace(injection, batch=number) for number, part in parts for injection in part.batch))
