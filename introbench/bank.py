"""The arms of a trial: which injections stand side by side in one batch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from introbench import data
from introbench.arguments import choose, parse_concepts, parse_count, user_path
from introbench.cache import sha256_of
from introbench.checkpoint import Checkpoint
from introbench.errors import InputError
from introbench.injection import (
    CONCEPT_METHODS,
    FROM_FILE,
    STEERINGS,
    Injection,
    LayerRange,
    Strength,
    VectorRecipe,
    parse_layers,
    parse_strength,
    sham,
)
from introbench.vectors.control_file import control_files, read_control_file

CONTROL_VECTORS = ("gaussian", "covariance", "shuffle", "negated", "other")
"""Vectors that may stand beside a concept's: of a random direction at each layer, of the residual stream's covariance,
with shuffled coordinates, its opposite, another concept's. Each at the same norm, and at the same impact."""
IMPACT = " (impact)"
"""Ends the name of an arm that has the dose of the concept's own, rather than its norm."""
CONCEPTS_PER_BANK = 12
"""How many concepts share a batch with their random vectors: at most 25 rows."""
UNKNOWN_MODEL_STRENGTH = "residual:0.05"
"""For models without a known setting: about what strength 8 is for the embedded model."""


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


def make_bank(
    checkpoint: Checkpoint,
    *,
    concepts: object,
    method: str,
    layers: object,
    strength: object,
    random_vectors: object,
    seed: object,
    steering: object = "cache",
    vectors: str | None = None,
    controls: object = (),
) -> Bank:
    """Read what a task's arguments say about injections, before any weights load.

    Args:
        checkpoint: The model.
        concepts: Words; by default the published ones, or those that `vectors` has files for.
        method: One of `CONCEPT_METHODS`.
        layers: Steered blocks; the model's known setting or the middle third by default.
        strength: Norm of what is added; the model's known setting or `UNKNOWN_MODEL_STRENGTH` by default.
        random_vectors: Random vectors per trial.
        seed: Of the random vectors.
        steering: cache, active or both.
        vectors: Folder of control-vector files, named by concept; None to extract vectors.
        controls: Which of `CONTROL_VECTORS` stand beside each concept's; "all" for all of them.

    Raises:
        InputError: An argument is not as it should be, or a file does not fit the model.
    """
    known = data.known_settings(checkpoint.name)
    steerings = STEERINGS if steering == "both" else choose(str(steering), (*STEERINGS, "both"), "steering")
    (method,) = choose(method, CONCEPT_METHODS, "method")
    steered = parse_layers(layers if layers is not None else known.get("layers"), checkpoint.n_layers)
    recipes = (
        tuple(VectorRecipe(method, concept) for concept in parse_concepts(concepts))
        if vectors is None
        else _from_files(user_path(vectors), concepts, checkpoint, steered)
    )
    strangers = [concept for concept in data.concepts() if concept != recipes[0].concept]
    return Bank(
        vectors=recipes,
        layers=steered,
        strength=parse_strength(strength if strength is not None else known.get("strength", UNKNOWN_MODEL_STRENGTH)),
        random_arms=parse_count(random_vectors, "random_vectors", most=9),
        seed=parse_count(seed, "seed", most=2**32 - 1),
        steerings=steerings,
        controls=_controls(controls),
        stranger=VectorRecipe(method, strangers[0]),
    )


def _controls(value: object) -> tuple[str, ...]:
    if value in ((), [], None):
        return ()
    return CONTROL_VECTORS if value == "all" else choose(value, (*CONTROL_VECTORS, "all"), "controls")


def _from_files(folder: Path, concepts: object, checkpoint: Checkpoint, layers: LayerRange) -> tuple[VectorRecipe, ...]:
    """Recipes of the vectors in a folder, each of which has a direction at every steered block."""
    files = control_files(folder)
    chosen = choose(concepts, files, "concepts") if concepts is not None else tuple(files)
    recipes = []
    for concept in chosen:
        path = files[concept].resolve()
        directions = read_control_file(
            path,
            model_type=checkpoint.config.model_type,
            n_layers=checkpoint.n_layers,
            hidden=checkpoint.config.hidden_size,
        )
        without = [block for block in range(*layers) if not bool(directions[block].any())]
        if without:
            raise InputError(
                f"{path}: has no direction for layers {', '.join(map(str, without))} of layers="
                f"{layers[0]}:{layers[1]}; expected one for each; pass others, e.g. -T layers=1:{checkpoint.n_layers}"
            )
        recipes.append(VectorRecipe(FROM_FILE, concept, file=str(path), digest=sha256_of(path)))
    return tuple(recipes)
