"""Training of an adapter: kept, repeatable, and without traces on the base."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import logits

from introbench.errors import InputError
from introbench.models import lora_training
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune


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


def test_a_fine_tune_of_another_name_in_the_cache_is_not_used(tiny_folder: Path, quick: Path, told: list[str]) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    expected = Finetune("lora:cats", checkpoint).load(checkpoint.load()).fingerprint
    (own,) = (quick / "finetunes").iterdir()
    Finetune("lora:cats:1", checkpoint).load(checkpoint.load())
    (foreign,) = set((quick / "finetunes").iterdir()) - {own}
    shutil.rmtree(own)
    shutil.copytree(foreign, own)
    assert Finetune("lora:cats", checkpoint).load(checkpoint.load()).fingerprint == expected
    assert any(line == f"the cached fine-tune {own} is corrupt; training it again" for line in told)


@pytest.mark.parametrize("name", ["lora:", "lora:a\nb", "lora:cats:one", "lora:cats:9999999999"])
def test_names_that_say_nothing_are_refused(name: str, tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="expected lora:CONCEPT"):
        Finetune(name, Checkpoint(str(tiny_folder))).check()


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
