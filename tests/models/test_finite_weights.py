"""Weights that are NaN or infinite are refused by the name of their part."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune
from introbench.models.finite_weights import broken_part
from introbench.validation.tiny_models import tiny_model


def spoiled(source: Path, folder: Path, name: str, value: float) -> Checkpoint:
    """A copy of a model in which one number is another."""
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    weights = load_file(source / "model.safetensors")
    weights[name][-1] = value
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return Checkpoint(str(folder))


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("model.layers.2.mlp.up_proj.weight", float("nan"), r"block 2 \(mlp\.up_proj\.weight\)"),
        ("model.layers.3.input_layernorm.weight", float("-inf"), r"block 3 \(input_layernorm\.weight\)"),
        ("model.embed_tokens.weight", float("inf"), r"the embeddings \(weight\)"),
        ("model.norm.weight", float("nan"), r"the final norm \(weight\)"),
    ],
)
def test_the_part_is_named(tiny_folder: Path, tmp_path: Path, name: str, value: float, part: str) -> None:
    checkpoint = spoiled(tiny_folder, tmp_path / "broken", name, value)
    with pytest.raises(InputError, match=f"the weights of {part} hold values that are not finite; .* get its weights"):
        checkpoint.load()


def test_weights_too_large_for_float16_load_in_float32(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    spoiled(tiny_folder, folder, "model.layers.1.mlp.down_proj.weight", 1e5)
    with pytest.raises(InputError, match=r"block 1 \(mlp\.down_proj\.weight\) .*; pass -M dtype=float32"):
        Checkpoint(str(folder), dtype="float16").load()
    Checkpoint(str(folder), dtype="float32").load()


def test_a_large_sum_is_no_infinite_weight() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight.fill_(3e38)
    assert broken_part(model) == ""


def test_adapters_with_values_that_are_not_finite_are_refused(tiny_folder: Path, adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    name = sorted(weights)[0]
    weights[name][0] = float("nan")
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    with pytest.raises(InputError, match=r"lora_A.* holds values that are not finite; expected numbers; get it again"):
        Finetune(str(adapter), checkpoint).load(model)
    assert not any("lora_" in key for key in model.state_dict())
