"""The arms of a trial: which injections stand side by side in one batch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from introbench.steering.injection import Injection, LayerRange, Strength, VectorRecipe, sham

CONTROL_VECTORS = ("gaussian", "covariance", "shuffle", "negated", "other")
"""Vectors that may stand beside a concept's: of a random direction at each layer, of the residual stream's covariance,
with shuffled coordinates, its opposite, another concept's. Each at the same norm, and at the same impact."""


IMPACT = " (impact)"
"""Ends the name of an arm that has the dose of the concept's own, rather than its norm."""

CONCEPTS_PER_BANK = 12
"""How many concepts share a batch with their random vectors: at most 25 rows."""


@dataclass(frozen=True)
class Bank:
    """The arms that share a batch: the sham, some concepts, and as many random vectors.

    A trial uses the sham, one concept and a few of the random vectors, but the engine always runs the whole bank in
    one batch of fixed order. So a trial's arms stand side by side in one forward pass, and its numbers do not depend
    on which other trials happen to be in flight.

    Concept i uses random vectors i, i+1, ... (cyclically). Each is then used equally often, and there are as many
    independent random vectors as concepts for the contrast between the two.

    Attributes:
        vectors: The concepts' vectors.
        layers: Half-open range of steered blocks.
        strength: Scale of the unit vectors.
        random_arms: Random vectors per trial.
        seed: Seed of the random vectors.
        steerings: When injections are on; with two of them, every injection stands in the bank twice.
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
    def injections(self) -> tuple[Injection, ...]:
        """The batch, row by row: the sham; then concepts and random vectors, for each way to steer."""
        turned = [
            replace(owner, seed=self.seed, draw=index // len(self.vectors))
            for index, owner in enumerate(self._random_owners)
        ]
        steered = [
            Injection(vector, self.layers, self.strength, steering)
            for steering in self.steerings
            for vector in (*self.vectors, *turned)
        ]
        beside = [each for vector in self.vectors for each in self._controls(vector).values()]
        return (sham(self.layers), *steered, *beside)

    def arms(self, concept: str) -> dict[str, int]:
        """Names of a trial's arms, and their rows in the batch."""
        index = self.concepts.index(concept)
        pool = len(self._random_owners)
        rows = {"sham": 0}
        for number, steering in enumerate(self.steerings):
            first = 1 + number * (len(self.vectors) + pool)
            suffix = "" if number == 0 else f" {steering}"
            rows[f"concept{suffix}"] = first + index
            for k in range(self.random_arms):
                rows[f"random {k + 1}{suffix}"] = first + len(self.vectors) + (index + k) % pool
        first = len(self.injections) - len(self.vectors) * 2 * len(self.controls)
        for number, name in enumerate(self._controls(self.vectors[index])):
            rows[name] = first + index * 2 * len(self.controls) + number
        return rows

    def _controls(self, vector: VectorRecipe) -> dict[str, Injection]:
        """The control injections beside a concept's: each at its norm, and at its impact."""
        several: dict[str, Injection] = {}
        for name in self.controls:
            strength, control = self.strength, vector
            if name == "negated":
                strength = strength.times(-1)
            elif name == "other":
                following = self.vectors.index(vector) + 1
                control = self.vectors[following % len(self.vectors)] if len(self.vectors) > 1 else self._other
            else:
                control = replace(vector, seed=self.seed, control=name)
            by_norm = Injection(control, self.layers, strength, self.steerings[0], like=vector)
            several |= {name: by_norm, f"{name}{IMPACT}": replace(by_norm, match="impact")}
        return several

    @property
    def _other(self) -> VectorRecipe:
        assert self.stranger is not None
        return self.stranger

    @property
    def _random_owners(self) -> list[VectorRecipe]:
        """Whose vector each random vector is a rotation of."""
        if self.random_arms == 0:
            return []
        size = max(len(self.vectors), self.random_arms)
        return [self.vectors[index % len(self.vectors)] for index in range(size)]


def bank_text(injections: Sequence[Injection]) -> str:
    """The injections that share a batch as JSON text: one value, rather than hundreds that every log event copies."""
    return json.dumps([injection.to_json() for injection in injections])


def split_into_banks(whole: Bank) -> list[Bank]:
    """Cut a long list of concepts into banks that fit a batch."""
    vectors = whole.vectors
    return [
        replace(
            whole,
            vectors=vectors[start : start + CONCEPTS_PER_BANK],
            stranger=vectors[0] if start else whole.stranger,
        )
        for start in range(0, len(vectors), CONCEPTS_PER_BANK)
    ]


Rows = tuple[Injection, ...]
"""The injections that share a batch, row by row."""
