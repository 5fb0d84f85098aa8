"""From a task's arguments to the arms of its trials, before any weights load."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from introbench.errors import InputError, shown
from introbench.models.checkpoint import Checkpoint
from introbench.models.disk_cache import sha256_of
from introbench.progress import tell
from introbench.prompts import data
from introbench.records.arm import CONTROL_VECTORS
from introbench.steering.arms import CONCEPTS_PER_BATCH, ArmPlan
from introbench.steering.injection import (
    CONCEPT_METHODS,
    FROM_FILE,
    MODEL_CONTRAST,
    STEERINGS,
    UNKNOWN_MODEL_STRENGTH,
    LayerRange,
    VectorRecipe,
    parse_layers,
    parse_strength,
)
from introbench.steering.vectors.control_file import ControlFile, NoControlFileError
from introbench.steering.vectors.vector_file import read_vector_file, tell_passed_over, vector_files
from introbench.tasks.arguments import choose, parse_concepts, parse_count, user_path


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
        vectors: Folder of vectors' files, named by concept, or one such file; None to extract vectors.
        controls: Which of `CONTROL_VECTORS` stand beside each concept's; "all" for all of them.
        norm_vectors: How many random vectors of equal norm are run beside them.

    Raises:
        InputError: An argument is not as it should be, or a file does not fit the model.
    """
    known = data.known_settings(checkpoint.name)
    steerings = STEERINGS if steering == "both" else choose(str(steering), (*STEERINGS, "both"), "steering")
    (method,) = choose(method, CONCEPT_METHODS, "method")
    steered = parse_layers(layers if layers is not None else known.get("layers"), checkpoint.n_layers)
    files = {} if vectors is None else _read_files(user_path(vectors), concepts, checkpoint, steered)
    recipes = (
        tuple(VectorRecipe(method, concept) for concept in parse_concepts(concepts))
        if vectors is None
        else tuple(
            VectorRecipe(
                MODEL_CONTRAST if file.finetune else FROM_FILE, concept, file=str(path), digest=sha256_of(path)
            )
            for concept, (path, file) in files.items()
        )
    )
    _refuse_marks([recipe.concept for recipe in recipes], checkpoint.tokenizer)
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
        vector_files={concept: _facts_of(file, steered) for concept, (_, file) in files.items()},
    )


def _refuse_marks(concepts: Sequence[str], tokenizer: Any) -> None:
    """Refuse a concept in which the tokenizer would read a mark, such as one that ends a turn, in place of text."""
    marks = {str(mark) for mark in tokenizer.all_special_tokens if str(mark).strip()}
    for concept in concepts:
        for mark in marks:
            if mark in concept:
                raise InputError(
                    f"concept {shown(concept)}: has {shown(mark)}, which this model's tokenizer reads as a mark of its "
                    f"own; expected text; write it in another way"
                )


def _controls(value: object) -> tuple[str, ...]:
    if value in ((), [], None):
        return ()
    return CONTROL_VECTORS if value == "all" else choose(value, (*CONTROL_VECTORS, "all"), "controls")


def _read_files(
    folder: Path, concepts: object, checkpoint: Checkpoint, layers: LayerRange
) -> dict[str, tuple[Path, ControlFile]]:
    """The chosen files of a folder by concept, each of which has a direction at every steered block.

    A file of something else than a vector is passed over, with a notice, unless its name was asked for.
    """
    found = vector_files(folder)
    chosen = choose(concepts, found, "concepts") if concepts is not None else tuple(found)
    files: dict[str, tuple[Path, ControlFile]] = {}
    for concept in chosen:
        path = found[concept].resolve()
        try:
            file = read_vector_file(path, n_layers=checkpoint.n_layers, hidden=checkpoint.config.hidden_size)
        except NoControlFileError:
            if concepts is not None or len(found) == 1:
                raise
            tell_passed_over(folder, [path.name])
            continue
        files[concept] = path, file
    if not files:
        raise InputError(f"{folder}: none of its files is a vector's; expected one file a vector; put them there")
    in_all = sorted(set.intersection(*(set(file.layers) for _, file in files.values())))
    for path, file in files.values():
        if without := [block for block in range(*layers) if block not in file.layers]:
            raise InputError(
                f"{path}: has no direction for layers {', '.join(map(str, without))} of layers="
                f"{layers[0]}:{layers[1]}; expected one for each; {_longest_range(in_all)}"
            )
    _tell_of_other_models(files, checkpoint)
    return files


def _longest_range(blocks: Sequence[int]) -> str:
    """What to do where steered blocks have no directions: which of them can be steered."""
    ranges: list[LayerRange] = []
    for block in blocks:
        if ranges and ranges[-1][1] == block:
            ranges[-1] = ranges[-1][0], block + 1
        else:
            ranges.append((block, block + 1))
    if not ranges:
        return "no layer has one in every file; choose files with -T concepts"
    start, stop = max(ranges, key=lambda each: each[1] - each[0])
    return f"pass -T layers={start}:{stop}"


def _tell_of_other_models(files: Mapping[str, tuple[Path, ControlFile]], checkpoint: Checkpoint) -> None:
    """Tell the user where files name another type of model: programs write different names for the same one."""
    kind = checkpoint.config.model_type
    others: dict[str, list[str]] = {}
    for path, file in files.values():
        if file.made_for not in ("", kind):
            others.setdefault(file.made_for, []).append(path.name)
    for made_for, names in others.items():
        first = f"{names[0]} and {len(names) - 1} more name" if len(names) > 1 else f"{names[0]} names"
        tell(f"{first} {shown(made_for)} as the type of model, which is {kind!r} here; widths and layers fit")


def _facts_of(file: ControlFile, layers: LayerRange) -> dict[str, Any]:
    """What a log says of a file: the least and the largest norm of its own vectors, and what it says it was made for.

    The strength multiplies these norms. Of a vector that leads to a fine-tune, the fine-tune's name is said as well.
    """
    norms = file.directions[layers[0] : layers[1]].norm(dim=-1)
    facts = {"norms": [float(norms.min()), float(norms.max())], "made_for": file.made_for}
    return facts | ({"finetune": file.finetune} if file.finetune else {})
