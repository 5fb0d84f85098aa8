"""Shared fixtures: tiny models of every architecture, and the embedded model."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from introbench import progress
from introbench.models.checkpoint import Checkpoint
from introbench.validation.tiny_models import FAMILIES, tiny_model

QUICK_FAMILIES = ("llama", "gemma2", "gpt_neox", "qwen3_moe")
"""One of each kind: rotary and plain, soft-capped with sliding windows, parallel blocks, mixture of experts."""


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[] if name in QUICK_FAMILIES else pytest.mark.slow) for name in sorted(FAMILIES)],
)
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return tiny_model("llama")


@pytest.fixture(scope="session")
def smollm2() -> Checkpoint:
    return Checkpoint("smollm2")


@pytest.fixture(scope="session")
def tokenizer(smollm2: Checkpoint) -> PreTrainedTokenizerFast:
    return smollm2.tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, smollm2: Checkpoint) -> Path:
    """A folder with a tiny random model and a real tokenizer and chat template."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024).save_pretrained(folder)
    smollm2.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of the test's own."""
    monkeypatch.setenv("INTROBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a user would have been shown."""
    lines: list[str] = []
    monkeypatch.setattr(progress, "_listeners", [lines.append])
    return lines
