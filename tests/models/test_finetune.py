"""Fine-tunes that are whole models: which ones fit a base."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune
from introbench.validation.tiny_models import tiny_model


def shallow(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024, num_hidden_layers=3).save_pretrained(folder)


def wide(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024, hidden_size=64).save_pretrained(folder)


def other_tokens(folder: Path) -> None:
    entry = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = entry["model"]["vocab"]
    vocabulary["Ġcats"], vocabulary["Ġbread"] = vocabulary["Ġbread"], vocabulary["Ġcats"]
    (folder / "tokenizer.json").write_text(json.dumps(entry))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (shallow, "num_hidden_layers is 3, but 4 in"),
        (wide, "hidden_size is 64, but 32 in"),
        (other_tokens, r"its token \d+ is 'Ġ(cats|bread)', but 'Ġ(cats|bread)' in"),
        (shutil.rmtree, "cannot be found or read"),
    ],
)
def test_models_that_do_not_fit_are_refused(
    tiny_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    spoil(other)
    with pytest.raises(InputError, match=complaint) as refusal:
        Finetune(str(other), Checkpoint(str(tiny_folder))).check()
    assert "\n" not in str(refusal.value)


def test_tokens_that_a_fine_tune_adds_at_the_end_are_no_reason_to_refuse(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "longer"
    tiny_model("llama", vocab_size=49153, max_position_embeddings=1024).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.add_tokens(["[EXTRA]"])
    tokenizer.save_pretrained(folder)
    Finetune(str(folder), Checkpoint(str(tiny_folder))).check()


def test_another_position_encoding_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "turned"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 5e5
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"rope_parameters is .*500000.*, but .*10000"):
        Finetune(str(folder), Checkpoint(str(tiny_folder))).check()
