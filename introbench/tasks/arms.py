"""From a task's arguments to the arms of its trials, before any weights load."""

from pathlib import Path

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.disk_cache import sha256_of
from introbench.prompts import data
from introbench.records.arm import CONTROL_VECTORS
from introbench.steering.arms import CONCEPTS_PER_BATCH, ArmPlan
from introbench.steering.injection import (
    CONCEPT_METHODS,
    FROM_FILE,
    STEERINGS,
    LayerRange,
    VectorRecipe,
    parse_layers,
    parse_strength,
)
from introbench.steering.vectors.control_file import control_files, read_control_file
from introbench.tasks.arguments import choose, parse_concepts, parse_count, user_path

UNKNOWN_MODEL_STRENGTH = "residual:0.05"
"""For models without a known setting: about what strength 8 is for the embedded model."""


def plan_arms(
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
    norm_vectors: object = 0,
) -> ArmPlan:
    """Read what a task's arguments say about injections, before any weights load.

    Args:
        checkpoint: The model.
        concepts: Words; by default the published ones, or those that `vectors` has files for.
        method: One of `CONCEPT_METHODS`.
        layers: Steered blocks; the model's known setting or the middle third by default.
        strength: Norm of what is added; the model's known setting or `UNKNOWN_MODEL_STRENGTH` by default.
        random_vectors: Random vectors per trial, at the dose of the concept's vector.
        seed: Of the random vectors.
        steering: cache, active or both.
        vectors: Folder of control-vector files, named by concept; None to extract vectors.
        controls: Which of `CONTROL_VECTORS` stand beside each concept's; "all" for all of them.
        norm_vectors: How many random vectors of equal norm are run beside them.

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
    return ArmPlan(
        vectors=recipes,
        layers=steered,
        strength=parse_strength(strength if strength is not None else known.get("strength", UNKNOWN_MODEL_STRENGTH)),
        random_arms=parse_count(random_vectors, "random_vectors", most=9),
        seed=parse_count(seed, "seed", most=2**32 - 1),
        steerings=steerings,
        controls=_controls(controls),
        stranger=VectorRecipe(method, strangers[0]),
        norm_arms=parse_count(norm_vectors, "norm_vectors", most=CONCEPTS_PER_BATCH),
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
