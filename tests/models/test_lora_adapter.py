"""Adapters: off when they are off, and refused where they do not fit."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from helpers import logits, two_passes
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from introbench.engine import Arms, Request, TransformersEngine, Want
from introbench.errors import InputError
from introbench.models import lora_adapter as adapters
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune, TunedWeights
from introbench.validation.tiny_models import tiny_model


def test_an_adapter_is_on_only_where_it_is_switched_on(tiny_folder: Path, adapter: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    before = logits(model)
    tuned = Finetune(str(adapter), checkpoint)
    tuned.check()
    weights = tuned.load(model)
    assert weights.model is model, "no second copy"
    assert torch.equal(logits(model), before)
    before = logits(model.double())  # so that the order of sums plays no role below
    with weights.switched():
        on = logits(model)
    merged = PeftModel.from_pretrained(checkpoint.load(), str(adapter)).double().merge_and_unload()
    torch.testing.assert_close(on, logits(merged), atol=1e-9, rtol=0)
    assert (on - before).abs().max() > 1e-2
    with pytest.raises(RuntimeError, match="in between"), weights.switched():
        raise RuntimeError("in between")
    assert torch.equal(logits(model), before)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_two_adapters_are_never_on_together(tiny_folder: Path, adapter: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    torch.manual_seed(4)
    config = LoraConfig(r=2, target_modules=["v_proj"], init_lora_weights=False)
    get_peft_model(checkpoint.load(), config).save_pretrained(tmp_path / "other")
    model = checkpoint.load()
    first, second = (Finetune(str(folder), checkpoint).load(model) for folder in (adapter, tmp_path / "other"))
    model.double()  # so that the order of sums plays no role
    for weights, folder in ((first, adapter), (second, tmp_path / "other"), (first, adapter)):
        with weights.switched():
            on = logits(model)
        merged = PeftModel.from_pretrained(checkpoint.load(), str(folder)).double().merge_and_unload()
        torch.testing.assert_close(on, logits(merged), atol=1e-9, rtol=0)


@pytest.mark.parametrize("fast", [True, False])
def test_the_base_answers_from_the_adapters_cache(tiny_folder: Path, adapter: Path, fast: bool) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    engine = TransformersEngine(model, fast=fast)
    weights = Finetune(str(adapter), checkpoint).load(model)
    prior, question = [5, 9, 33, 2, 71, 18], [7, 90, 4]
    arms = Arms.steered({1: torch.zeros(1, 32)}, filler=weights)
    (reading,) = engine.read([Request((*prior, *question), len(prior), Want(tuple(range(97))), arms)])
    merged = PeftModel.from_pretrained(checkpoint.load(), str(adapter)).merge_and_unload()
    expected, _ = two_passes(checkpoint.load(), prior, question, {}, filler=merged)
    torch.testing.assert_close(reading.logprobs[0].double(), expected[:97], atol=1e-4, rtol=0)


def test_adapters_that_do_not_fit_are_refused(tiny_folder: Path, adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024, hidden_size=64).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    with pytest.raises(InputError, match=r"lora_A\.weight is \[4, 32\], but \[4, 64\] in"):
        Finetune(str(adapter), Checkpoint(str(folder))).check()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(InputError, match="of type IA3; expected LORA"):
        Finetune(str(adapter), Checkpoint(str(tiny_folder))).check()
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors"):
        Finetune(str(adapter), Checkpoint(str(tiny_folder))).check()


def test_a_missing_package_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="the package no-such-package that runs adapters is not installed; run: "):
        Finetune("lora:cats", Checkpoint(str(tiny_folder))).check()


def rewritten(adapter: Path, **changes: object) -> Finetune:
    """The adapter with another configuration."""
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return Finetune(str(adapter), Checkpoint(str(adapter.parent / "base")))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"r": 2}, r"lora_A\.weight is \[4, 32\], but \[2, 32\] in"),
        ({"target_modules": ["c_attn"]}, r"does not fit .*c_attn.*not found"),
        ({"target_modules": ["q_proj"]}, r"up_proj\.lora_A\.weight is \[4, 32\], but has no place in"),
        ({"bias": "all"}, "has bias='all', which cannot be switched on and off"),
        ({"modules_to_save": ["input_layernorm"]}, r"has modules_to_save=\['input_layernorm'\]"),
        ({"init_lora_weights": "pissa"}, "has init_lora_weights='pissa'"),
        ({"use_dora": True}, "has use_dora=True"),
    ],
)
def test_adapters_that_would_change_the_base_or_not_fit_it_are_refused(
    tiny_folder: Path, adapter: Path, changes: dict[str, object], complaint: str
) -> None:
    (adapter.parent / "base").symlink_to(tiny_folder)
    with pytest.raises(InputError, match=complaint) as refusal:
        rewritten(adapter, **changes).check()
    assert "\n" not in str(refusal.value)


def without_last_block(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    kept = {key: tensor for key, tensor in tensors.items() if ".layers.3." not in key}
    save_file(kept, adapter / "adapter_model.safetensors", metadata={"format": "pt"})


def test_an_adapter_in_parts_is_refused_and_leaves_nothing_behind(tiny_folder: Path, adapter: Path) -> None:
    without_last_block(adapter)
    checkpoint = Checkpoint(str(tiny_folder))
    tuned = Finetune(str(adapter), checkpoint)
    with pytest.raises(InputError, match=r"layers\.3\..* is missing, but \[4, 32\] in"):
        tuned.check()
    model = checkpoint.load()
    before = logits(model)
    with pytest.raises(InputError, match="4 tensors are amiss, first "):
        tuned.load(model)
    assert torch.equal(logits(model), before)
    assert not any("lora_" in name for name in model.state_dict())


@pytest.mark.parametrize(
    ("file", "complaint"),
    [("adapter_config.json", "cannot be read"), ("adapter_model.safetensors", "is damaged")],
)
def test_damaged_adapters_are_refused_in_one_line(tiny_folder: Path, adapter: Path, file: str, complaint: str) -> None:
    (adapter / file).write_bytes(b"{")
    with pytest.raises(InputError, match=complaint) as refusal:
        Finetune(str(adapter), Checkpoint(str(tiny_folder))).check()
    assert "\n" not in str(refusal.value)


def test_loading_leaves_the_callers_random_numbers_alone(tiny_folder: Path, adapter: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model, state = checkpoint.load(), torch.random.get_rng_state()
    Finetune(str(adapter), checkpoint).load(model)
    assert torch.equal(torch.random.get_rng_state(), state)


def on_experts(base: Path, folder: Path, parameters: list[str]) -> Path:
    """A random LoRA on parameters that are not those of a linear map."""
    torch.manual_seed(len(parameters))
    config = LoraConfig(r=4, target_modules=[], target_parameters=parameters, init_lora_weights=False)
    with warnings.catch_warnings(action="ignore"):  # of modules that are not targeted
        get_peft_model(Checkpoint(str(base)).load(), config).save_pretrained(folder)
    return folder


def test_adapters_of_parameters_are_loaded_as_if_each_were_alone(tmp_path: Path) -> None:
    tiny_model("qwen3_moe").save_pretrained(tmp_path / "base")
    checkpoint = Checkpoint(str(tmp_path / "base"))
    up, down = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"
    targets = {"both": [up, down], "up": [up], "down": [down]}
    folders = {name: on_experts(tmp_path / "base", tmp_path / name, parts) for name, parts in targets.items()}

    def run(tuned: TunedWeights) -> tuple[torch.Tensor, str]:
        with tuned.switched():
            return logits(tuned.model), tuned.fingerprint

    alone = {name: run(Finetune(str(folder), checkpoint).load(checkpoint.load())) for name, folder in folders.items()}
    shared = checkpoint.load()
    before = logits(shared)
    together = {name: Finetune(str(folder), checkpoint).load(shared) for name, folder in folders.items()}
    for name in ("both", "up", "down", "both"):
        on, fingerprint = run(together[name])
        assert torch.equal(on, alone[name][0]), name
        assert fingerprint == alone[name][1]
        assert torch.equal(logits(shared), before)
    assert not torch.equal(alone["both"][0], alone["up"][0])


def test_adapters_with_older_names_that_transformers_maps_are_loaded(tmp_path: Path) -> None:
    tiny_model("llava").save_pretrained(tmp_path / "base")
    checkpoint = Checkpoint(str(tmp_path / "base"))
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=r".*language_model.*\.q_proj", init_lora_weights=False)
    get_peft_model(checkpoint.load(), config).save_pretrained(tmp_path / "new")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    tensors = load_file(tmp_path / "new" / "adapter_model.safetensors")
    renamed = {key.replace(".model.language_model.", ".language_model.model."): tensors[key] for key in tensors}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, tmp_path / "old" / "adapter_model.safetensors", metadata={"format": "pt"})
    answers = []
    for name in ("new", "old"):
        tuned = Finetune(str(tmp_path / name), checkpoint)
        tuned.check()
        weights = tuned.load(checkpoint.load())
        with weights.switched():
            answers.append(logits(weights.model))
    assert torch.equal(*answers)
    renamed.pop(sorted(renamed)[0])
    save_file(renamed, tmp_path / "old" / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"issing, but \[4, 32\] in"):
        Finetune(str(tmp_path / "old"), checkpoint).check()


def test_an_adapter_in_a_subfolder_is_found(tiny_folder: Path, adapter: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    whole = Finetune(str(adapter), checkpoint).load(checkpoint.load())
    part = Finetune(f"{adapter.parent}:adapter", checkpoint)
    part.check()
    assert part.load(checkpoint.load()).fingerprint == whole.fingerprint
