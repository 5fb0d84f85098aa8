"""A language model that is taught to report injections: `python -m introbench.validation.taught`.

A small LoRA is trained to tell a concept's vector, added while a prior turn is read, from random vectors and from no
injection, and to keep all other answers. No concept and no question of its training is used by an experiment, so the
introspection task measures how the model generalises to new concepts and questions.
"""

import argparse
import hashlib
import importlib.metadata
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.models.disk_cache import cache_dir, is_intact, write_atomically, write_with_digests
from introbench.models.lora_adapter import require_peft
from introbench.models.lora_switch import PACKAGE
from introbench.models.smollm2 import NAME
from introbench.progress import screen_for, show_on, tell
from introbench.prompts import data
from introbench.prompts.conversation import yes_no_turns
from introbench.steering.injection import UNKNOWN_MODEL_STRENGTH, LayerRange, VectorRecipe, parse_layers, parse_strength
from introbench.steering.vectors import VectorLibrary
from introbench.validation.lessons import Course
from introbench.validation.pupil import Pupil, prepare
from introbench.validation.teaching import teach


def taught(checkpoint: Checkpoint, course: Course | None = None) -> Path:
    """Folder of a model that was taught to report injections; it is taught once and kept in the user's disk cache.

    Args:
        checkpoint: The untaught model.
        course: How the model is taught.

    Raises:
        InputError: The packages that training needs are missing, the disk cache cannot be written to, or the loss does
            not stay finite.
    """
    course = course or Course()
    require_peft("that is taught")
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    key = {
        "weights": weights_fingerprint(model),
        "wordings": asdict(data.teaching_texts()),
        "formats": [asdict(answer_format) for answer_format in data.answer_formats().values()],
        "question": yes_no_turns("?", next(iter(data.answer_formats().values()))),
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
    vectors, norm = _vectors(model, tokenizer, pupil.layers, course)
    prepared = prepare(pupil, tokenizer, vectors, norm, course)
    taught_model = teach(model, pupil, prepared, course)

    def save(target: Path) -> None:
        taught_model.save_pretrained(target)
        tokenizer.save_pretrained(target)

    if write_atomically(folder, lambda target: write_with_digests(target, save)) is None:
        raise InputError(f"{folder}: cannot be written; expected a cache directory with room; set INTROBENCH_CACHE")
    return folder


def _vectors(model: PreTrainedModel, tokenizer: Any, layers: LayerRange, course: Course) -> tuple[Tensor, float]:
    """Unit vectors of the training concepts, [concepts, blocks, hidden], and the norm of the default strength."""
    openings = data.openings()[:: course.openings]
    library = VectorLibrary(TransformersEngine(model), tokenizer, weights_fingerprint(model), openings)
    vectors = [library.directions(VectorRecipe("pca_center", concept)) for concept in data.teaching_texts().concepts]
    return torch.stack(vectors), parse_strength(UNKNOWN_MODEL_STRENGTH).number * library.residual_norm(layers)


def main() -> None:
    """Teach the embedded model, and print the folder that holds it."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.taught", description=__doc__)
    parser.add_argument("--out", type=Path, help="also copy the model to this folder")
    options = parser.parse_args()
    # Progress goes to stderr, so that a shell can read the folder from stdout.
    show_on(screen_for(sys.stderr))
    folder = taught(Checkpoint(NAME))
    if options.out:
        shutil.copytree(folder, options.out, dirs_exist_ok=True)
    print(options.out or folder)


if __name__ == "__main__":
    main()
