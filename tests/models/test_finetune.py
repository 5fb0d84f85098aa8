"""Fine-tunes: what is refused, that an adapter is off when it is off, and that training is kept and repeatable."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import two_passes
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from introbench.engine import Arms, Engine, Request, Want
from introbench.errors import InputError
from introbench.models import lora_adapter as adapters
from introbench.models import lora_training
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune
from introbench.validation.tiny_models import tiny_model

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
    monkeypatch.setattr(lora_training.data, "finetuning_chats", lambda concept: chats)
    monkeypatch.setattr(lora_training, "STEPS", 2)
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
    engine = Engine(model, fast=fast)
    weights = Finetune(str(adapter), checkpoint).load(model)
    prior, question = [5, 9, 33, 2, 71, 18], [7, 90, 4]
    arms = Arms.steered({1: torch.zeros(1, 32)}, filler=weights)
    (reading,) = engine.read([Request((*prior, *question), len(prior), Want(tuple(range(97))), arms)])
    merged = PeftModel.from_pretrained(checkpoint.load(), str(adapter)).merge_and_unload()
    expected, _ = two_passes(checkpoint.load(), prior, question, {}, filler=merged)
    torch.testing.assert_close(reading.logprobs[0].double(), expected[:97], atol=1e-4, rtol=0)


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
    assert "lora_" in "".join(model.state_dict()), "it is kept on the base"
    (folder,) = (quick / "finetunes").iterdir()
    shutil.rmtree(folder)
    again = checkpoint.load()
    with Finetune("lora:cats", checkpoint).load(again).switched():
        assert torch.equal(logits(again), trained), "the same seed, the same adapter"
    other = checkpoint.load()
    with Finetune("lora:cats:1", checkpoint).load(other).switched():
        assert not torch.equal(logits(other), trained)
    monkeypatch.setattr(lora_training, "_train", lambda *_: pytest.fail("trained again"))
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


@pytest.mark.parametrize("name", ["lora:", "lora:c4ts", "lora:cats:one"])
def test_names_that_say_nothing_are_refused(name: str, tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="expected lora:CONCEPT"):
        Finetune(name, Checkpoint(str(tiny_folder))).check()


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


def test_fine_tunes_on_one_base_do_not_see_each_other(
    tiny_folder: Path, quick: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    alone = checkpoint.load()
    expected = Finetune("lora:cats", checkpoint).load(alone)
    with expected.switched():
        tuned = logits(alone)
    shutil.rmtree(quick / "finetunes")
    model = checkpoint.load()
    others = [Finetune(name, checkpoint).load(model) for name in (str(adapter), "lora:cats:1")]
    weights = Finetune("lora:cats", checkpoint).load(model)  # trained on a base that has adapters
    with weights.switched():
        assert torch.equal(logits(model), tuned)
    assert weights.fingerprint == expected.fingerprint
    assert len({tuned.fingerprint for tuned in (weights, *others)}) == 3
    monkeypatch.setattr(lora_training, "_train", lambda *_: pytest.fail("trained again"))
    Finetune("lora:cats", checkpoint).load(model)


def test_a_training_that_is_given_up_leaves_nothing_behind(
    tiny_folder: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    before = logits(model)
    monkeypatch.setattr(lora_training, "tick", stop)
    with pytest.raises(KeyboardInterrupt):
        Finetune("lora:cats", checkpoint).load(model)
    assert torch.equal(logits(model), before)
    assert not any("lora_" in name for name in model.state_dict())
    assert not (quick / "finetunes").exists()
    monkeypatch.setattr(lora_training, "tick", lambda: None)
    Finetune("lora:cats", checkpoint).load(model)


def test_another_chat_template_is_another_training(tiny_folder: Path, quick: Path, tmp_path: Path) -> None:
    template = tmp_path / "plain.jinja"
    template.write_text("{% for message in messages %}<{{ message.role }}> {{ message.content }}\n{% endfor %}")
    for checkpoint in (Checkpoint(str(tiny_folder)), Checkpoint(str(tiny_folder), chat_template=str(template))):
        Finetune("lora:cats", checkpoint).load(checkpoint.load())
    assert len(list((quick / "finetunes").iterdir())) == 2


def test_a_cache_that_cannot_be_written_to_is_worked_around(
    tiny_folder: Path, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("INTROBENCH_CACHE", str(tmp_path / "file"))
    model = checkpoint.load()
    before = logits(model)
    with Finetune("lora:cats", checkpoint).load(model).switched():
        assert not torch.equal(logits(model), before)
    assert any("going on without it" in line for line in told)


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
