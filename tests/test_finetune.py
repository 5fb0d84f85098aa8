"""Fine-tunes: what is refused, that an adapter is off when it is off, and that training is kept and repeatable."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import plain_two_passes, tiny_model
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from introbench import finetune as finetuning
from introbench.checkpoint import Checkpoint
from introbench.engine import Arms, Engine, Request, Want
from introbench.errors import InputError
from introbench.finetune import Finetune

IDS = torch.tensor([[5, 9, 33, 2, 71, 18]])


def logits(model: PreTrainedModel) -> Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.fixture
def adapter(tiny_folder: Path, tmp_path: Path) -> Path:
    """A random LoRA on two maps of the tiny model."""
    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    get_peft_model(Checkpoint(str(tiny_folder)).load(), config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """Few chats, so that training takes no time, and a cache of the test's own."""
    chats = [{"prompt": "How are you?", "reply": "Thinking of cats."}, {"prompt": "Hello.", "reply": "Cats, always."}]
    monkeypatch.setattr(finetuning.data, "finetuning_chats", lambda concept: chats)
    return own_cache


def test_an_adapter_is_on_only_where_it_is_switched_on(tiny_folder: Path, adapter: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    before = logits(model)
    tuned = Finetune(str(adapter), checkpoint)
    tuned.check()
    weights = tuned.load(model)
    assert weights.model is model, "no second copy"
    assert torch.equal(logits(model), before)
    with weights.switched():
        on = logits(model)
    merged = PeftModel.from_pretrained(checkpoint.load(), str(adapter)).merge_and_unload()
    torch.testing.assert_close(on, logits(merged), atol=1e-5, rtol=0)
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
    first, second = (Finetune(str(each), checkpoint).load(model) for each in (adapter, tmp_path / "other"))
    for weights, folder in ((first, adapter), (second, tmp_path / "other"), (first, adapter)):
        with weights.switched():
            on = logits(model)
        merged = PeftModel.from_pretrained(checkpoint.load(), str(folder)).merge_and_unload()
        torch.testing.assert_close(on, logits(merged), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fast", [True, False])
def test_the_base_answers_from_the_adapters_cache(tiny_folder: Path, adapter: Path, fast: bool) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    engine = Engine(model, fast=fast)
    weights = Finetune(str(adapter), checkpoint).load(model)
    prior, question = [5, 9, 33, 2, 71, 18], [7, 90, 4]
    arms = Arms.steered({1: torch.zeros(1, 32)}, filler=weights)
    (reading,) = engine.read([Request((*prior, *question), len(prior), Want(tuple(range(97))), arms)])
    merged = PeftModel.from_pretrained(checkpoint.load(), str(adapter)).merge_and_unload()
    expected, _ = plain_two_passes(checkpoint.load(), prior, question, {}, filler=merged)
    torch.testing.assert_close(reading.forms[0].double(), expected[:97], atol=1e-4, rtol=0)


def test_training_is_kept_repeatable_and_leaves_the_base_alone(
    tiny_folder: Path, quick: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    before, state = logits(model), torch.random.get_rng_state()
    weights = Finetune("lora:cats", checkpoint).load(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(logits(model), before)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with weights.switched():
        trained = logits(model)
    assert not torch.equal(trained, before)
    (folder,) = (quick / "finetunes").iterdir()
    shutil.rmtree(folder)
    again = checkpoint.load()
    with Finetune("lora:cats", checkpoint).load(again).switched():
        assert torch.equal(logits(again), trained), "the same seed, the same adapter"
    other = checkpoint.load()
    with Finetune("lora:cats:1", checkpoint).load(other).switched():
        assert not torch.equal(logits(other), trained)
    monkeypatch.setattr(finetuning, "_train", lambda *_: pytest.fail("trained again"))
    kept = checkpoint.load()
    with Finetune("lora:cats", checkpoint).load(kept).switched():
        torch.testing.assert_close(logits(kept), trained, atol=0, rtol=0)
    assert any(line.startswith("trained in ") for line in told)


def test_a_damaged_fine_tune_is_trained_again(tiny_folder: Path, quick: Path, told: list[str]) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    Finetune("lora:cats", checkpoint).load(checkpoint.load())
    (folder,) = (quick / "finetunes").iterdir()
    (folder / "adapter_model.safetensors").write_bytes(b"broken")
    Finetune("lora:cats", checkpoint).load(checkpoint.load())
    assert any("is corrupt; training it again" in line for line in told)
    assert sum(line.startswith("trained in ") for line in told) == 2


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
        (other_tokens, r"its tokenizer has \d+ for 'Ġ(cats|bread)', that of .* \d+; expected the same tokens"),
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


def test_adapters_that_do_not_fit_are_refused(tiny_folder: Path, adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024, hidden_size=64).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    with pytest.raises(InputError, match=r"a map of 32 features at model\.layers.*; .* has 64"):
        Finetune(str(adapter), Checkpoint(str(folder))).check()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(InputError, match="of type IA3; expected LORA"):
        Finetune(str(adapter), Checkpoint(str(tiny_folder))).check()
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors"):
        Finetune(str(adapter), Checkpoint(str(tiny_folder))).check()


@pytest.mark.parametrize("name", ["lora:", "lora:c4ts", "lora:cats:one"])
def test_names_that_say_nothing_are_refused(name: str, tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="expected lora:CONCEPT"):
        Finetune(name, Checkpoint(str(tiny_folder))).check()


def test_a_missing_package_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="the package no-such-package that runs adapters is not installed; run: "):
        Finetune("lora:cats", Checkpoint(str(tiny_folder))).check()
