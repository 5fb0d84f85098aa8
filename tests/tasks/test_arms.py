"""From arguments to arms: which vector files are taken, which layers they can steer, and what is said of them."""

import re
from collections.abc import Collection
from pathlib import Path

import gguf
import numpy as np
import pytest

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.records.factors import id_of_concept
from introbench.steering.arms import ArmPlan
from introbench.tasks.arms import plan_arms
from introbench.tasks.trials import run_facts


def write(
    path: Path,
    blocks: Collection[int],
    norm: float = 1.0,
    hint: str = "llama",
    kind: str = "controlvector",
    finetune: str = "",
) -> None:
    """A file with directions of one norm at some blocks of a model of width 32."""
    writer = gguf.GGUFWriter(path, kind)
    writer.add_string("controlvector.model_hint", hint)
    if finetune:
        writer.add_string("introbench.finetune", finetune)
    for block in blocks:
        writer.add_tensor(f"direction.{block}", np.full(32, norm / np.sqrt(32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def planned(model: Path, folder: Path, layers: str, concepts: object = None) -> ArmPlan:
    return plan_arms(
        Checkpoint(str(model)),
        concepts=concepts,
        method="pca_center",
        layers=layers,
        strength=3,
        random_vectors=0,
        seed=0,
        vectors=str(folder),
    )


def test_a_file_of_one_layer_steers_that_layer(tiny_folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "cats.gguf", [2])
    assert planned(tiny_folder, tmp_path, "2:3").concepts == ("cats",)


def test_a_layer_that_is_steered_and_missing_is_named_with_those_that_can_be(tiny_folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "bread.gguf", [1, 2, 3])
    write(tmp_path / "cats.gguf", [2, 3])
    with pytest.raises(InputError) as refusal:
        planned(tiny_folder, tmp_path, "0:3")
    assert str(refusal.value) == (
        f"{tmp_path / 'bread.gguf'}: has no direction for layers 0 of layers=0:3; expected one for each; "
        f"pass -T layers=2:4"
    )
    remedy = re.search(r"-T layers=(\S+)", str(refusal.value))
    assert remedy
    assert planned(tiny_folder, tmp_path, remedy[1]).layers == (2, 4)
    write(tmp_path / "cats.gguf", [0])
    with pytest.raises(InputError, match="no layer has one in every file; choose files with -T concepts"):
        planned(tiny_folder, tmp_path, "1:3")
    assert planned(tiny_folder, tmp_path, "1:3", "bread").concepts == ("bread",)


def test_norms_and_other_models_are_said_in_the_log(tiny_folder: Path, tmp_path: Path, told: list[str]) -> None:
    write(tmp_path / "bread.gguf", [1, 2, 3], norm=0.5, hint="gemma3")
    write(tmp_path / "cats.gguf", [1, 2, 3], norm=2.0, hint="gemma3")
    write(tmp_path / "rain.gguf", [1, 2, 3])
    plan = planned(tiny_folder, tmp_path, "1:3")
    assert told == [
        "bread.gguf and 1 more name 'gemma3' as the type of model, which is 'llama' here; widths and layers fit"
    ]
    facts = run_facts(Checkpoint(str(tiny_folder)), plan)
    assert facts["vector_norms"] == "0.5 to 2"
    assert facts["vector_files"]["cats"] == {"norms": pytest.approx([2, 2]), "made_for": "gemma3"}
    assert "vector_norms" in run_facts(Checkpoint(str(tiny_folder)), plan.split()[0])
    assert "vector_norms" not in run_facts(Checkpoint(str(tiny_folder)), ArmPlan((), (1, 3), plan.strength, 0, 0))


def test_a_vector_that_leads_to_a_fine_tune_is_taken_for_one(tiny_folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "cats.gguf", [1, 2, 3])
    write(tmp_path / "tuned.gguf", [1, 2, 3], finetune="org/tuned")
    plan = planned(tiny_folder, tmp_path, "1:3")
    assert [(vector.method, vector.label) for vector in plan.vectors] == [
        ("file", "cats"),
        ("model_contrast", "tuned - base"),
    ]
    facts = run_facts(Checkpoint(str(tiny_folder)), plan)
    assert facts["method"] == "file, model_contrast"
    assert [file.get("finetune") for file in facts["vector_files"].values()] == [None, "org/tuned"]


def test_the_file_of_a_model_beside_vectors_is_passed_over(tiny_folder: Path, tmp_path: Path, told: list[str]) -> None:
    write(tmp_path / "model.gguf", [1], kind="llama")
    with pytest.raises(InputError, match="a GGUF file of 'llama': expected 'controlvector'"):
        planned(tiny_folder, tmp_path, "1:3")
    write(tmp_path / "cats.gguf", [1, 2, 3])
    assert planned(tiny_folder, tmp_path, "1:3").concepts == ("cats",)
    assert told == [f"{tmp_path}: 'model.gguf' passed over: no vector's file"]
    with pytest.raises(InputError, match="a GGUF file of 'llama': expected 'controlvector'"):
        planned(tiny_folder, tmp_path, "1:3", ["cats", "model"])
    (tmp_path / "cats.gguf").unlink()
    write(tmp_path / "other.gguf", [1], kind="llama")
    with pytest.raises(InputError, match=r"none of its files is a vector"):
        planned(tiny_folder, tmp_path, "1:3")


def test_names_that_look_alike_have_ids_of_their_own() -> None:
    names = ["ice cream", "ice_cream", "ice%5Fcream", "Ice cream", "ice__cream", "ice  cream"]
    assert len({id_of_concept(name) for name in names}) == len(names)
    assert id_of_concept("ice cream") == "ice_cream"
