"""Fine-tunes of the tiny model."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from introbench.models import lora_training
from introbench.models.checkpoint import Checkpoint


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
