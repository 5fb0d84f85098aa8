"""A real model that is taught to report injections: `python -m introbench.validation.taught`.

A small LoRA learns to tell a concept's vector, added while a prior turn is read, from nothing and from random
vectors, and to leave all other answers as they are. None of its concepts and none of its questions is used by an
experiment, so what the introspection task then finds is what the model makes of concepts and questions that are new.
"""

import argparse
import hashlib
import importlib.metadata
import json
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Engine
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.models.disk_cache import cache_dir, write_atomically
from introbench.models.lora_adapter import PACKAGE, require_peft, undisturbed
from introbench.models.smollm2 import NAME, is_intact, write_with_digests
from introbench.progress import heartbeat, listen, tell, tick
from introbench.prompts import data
from introbench.steering.injection import LayerRange, VectorRecipe, parse_layers, parse_strength
from introbench.steering.vectors import VectorLibrary
from introbench.tasks.arms import UNKNOWN_MODEL_STRENGTH
from introbench.validation.lessons import Course
from introbench.validation.pupil import Prepared, Pupil, look_where_injections_show, loss, maps_above, prepare

LARGEST_GRADIENT = 1.0


def teach(model: PreTrainedModel, pupil: Pupil, prepared: Sequence[Prepared], course: Course) -> PreTrainedModel:
    """Train a LoRA on the blocks above the steered ones, and merge it into the model.

    Args:
        model: The model; changed in place.
        pupil: The same, as it is taught.
        prepared: What it is to learn.
        course: How.

    Raises:
        InputError: The loss is no longer finite.
    """
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 (an optional extra)

    draw, steps = random.Random(course.seed), course.epochs * len(prepared)
    losses: list[float] = []
    with undisturbed(), torch.enable_grad():
        torch.default_generator.manual_seed(course.seed)
        config = LoraConfig(r=course.rank, lora_alpha=course.alpha, target_modules=maps_above(model, pupil.layers))
        adapted = get_peft_model(model, config)
        look_where_injections_show(adapted, pupil, prepared[: course.looks], course.rank // 2)
        parameters = [each for each in adapted.parameters() if each.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=course.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, course.learning_rate, total_steps=steps, pct_start=0.1
        )
        for each in [each for _ in range(course.epochs) for each in draw.sample(prepared, len(prepared))]:
            tick()
            odds = pupil.log_odds(each.lesson, each.states)
            begun = len(losses) >= course.plain_first * steps
            missed = loss(odds, each, course.level, course.reversed_weight if begun else 0.0)
            missed.backward()
            torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            losses.append(float(missed.detach()))
            if not torch.isfinite(missed):
                raise InputError(f"loss {losses[-1]} at step {len(losses)}: expected a finite one; load it in float32")
        merged = cast(PreTrainedModel, adapted.merge_and_unload())
    epoch = len(prepared)
    tell(f"taught in {steps} steps: loss {_mean(losses[:epoch]):.2f} at first, {_mean(losses[-epoch:]):.2f} at last")
    return merged


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def taught(checkpoint: Checkpoint, course: Course | None = None) -> Path:
    """Folder of a model that was taught to report injections: made on the first call, kept in the user's cache.

    Args:
        checkpoint: The untaught model.
        course: How it is taught.

    Raises:
        InputError: The packages that training needs are missing, the cache cannot be written to, or training does not
            converge.
    """
    course = course or Course()
    require_peft("that is taught")
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    key = {
        "weights": weights_fingerprint(model),
        "wordings": asdict(data.teaching_texts()),
        "formats": [asdict(each) for each in data.answer_formats().values()],
        "template": tokenizer.chat_template,
        "course": asdict(course),
        "peft": importlib.metadata.version(PACKAGE),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = cache_dir() / "taught" / digest[:32]
    if folder.exists():
        if is_intact(folder):
            return folder
        tell(f"the cached model {folder} is corrupt; teaching it again")
    pupil = Pupil(model, parse_layers(None, checkpoint.n_layers))
    with heartbeat(f"preparing {course.lessons} lessons (once)"):
        vectors, norm = _vectors(model, tokenizer, pupil.layers, course)
        prepared = prepare(pupil, tokenizer, vectors, norm, course)
    with heartbeat(f"teaching each of them {course.epochs} times (once)"):
        made = teach(model, pupil, prepared, course)

    def save(place: Path) -> None:
        made.save_pretrained(place)
        tokenizer.save_pretrained(place)

    if write_atomically(folder, lambda target: write_with_digests(target, save)) is None:
        raise InputError(f"{folder}: cannot be written; expected a cache directory with room; set INTROBENCH_CACHE")
    return folder


def _vectors(model: PreTrainedModel, tokenizer: Any, layers: LayerRange, course: Course) -> tuple[Tensor, float]:
    """The training concepts' vectors [concepts, blocks, hidden], and the norm that they are added with by default."""
    openings = data.openings()[:: course.openings]
    library = VectorLibrary(Engine(model), tokenizer, weights_fingerprint(model), openings)
    vectors = [library.directions(VectorRecipe("pca_center", concept)) for concept in data.teaching_texts().concepts]
    return torch.stack(vectors), parse_strength(UNKNOWN_MODEL_STRENGTH).number * library.residual_norm(layers)


def main() -> None:
    """Teach the embedded model, and print the folder where it is."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.taught", description=__doc__)
    parser.add_argument("--out", type=Path, help="copy the model to this folder, beside the cache")
    options = parser.parse_args()
    # What is printed is the folder alone, for a shell to take.
    listen(lambda line: print(f"introbench: {line}", file=sys.stderr, flush=True))
    folder = taught(Checkpoint(NAME))
    if options.out:
        shutil.copytree(folder, options.out, dirs_exist_ok=True)
    print(options.out or folder)


if __name__ == "__main__":
    main()
