"""Shared fixtures: tiny models of every architecture, and the embedded model.

The process that hands the tests out to others reads this file too, and runs none: what is slow to import is imported
where it is used.
"""

from __future__ import annotations

import gc
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from introbench import progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from introbench.models.checkpoint import Checkpoint

QUICK_FAMILIES = ("llama", "gemma2", "gpt_neox", "qwen3_moe")
"""One of each kind: rotary and plain, soft-capped with sliding windows, parallel blocks, mixture of experts."""

SPREAD = ("tests/regression/test_plugin.py", "tests/regression/test_shipped_checks.py", "tests/validation/test_runs.py")
"""Files with tests that take long and share nothing."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of `any_model` is run on every family; all but a few are among the slow ones."""
    if "any_model" in metafunc.fixturenames:
        from introbench.validation.tiny_models import FAMILIES

        families = [
            pytest.param(name, marks=[] if name in QUICK_FAMILIES else pytest.mark.slow) for name in sorted(FAMILIES)
        ]
        metafunc.parametrize("any_model", families, indirect=True, scope="session")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Tests of one file run in one process, which makes the file's fixtures once; files of long runs are spread."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file in SPREAD else file

    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """What has been imported by now stays; collections of garbage, which models ask for, need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    from introbench.validation.tiny_models import tiny_model

    return tiny_model(request.param)


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    from introbench.validation.tiny_models import tiny_model

    return tiny_model("llama")


@pytest.fixture(scope="session")
def smollm2() -> Checkpoint:
    from introbench.models.checkpoint import Checkpoint

    return Checkpoint("smollm2")


@pytest.fixture(scope="session")
def tokenizer(smollm2: Checkpoint) -> PreTrainedTokenizerFast:
    return smollm2.tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, smollm2: Checkpoint) -> Path:
    """A folder with a tiny random model and a real tokenizer and chat template."""
    from introbench.validation.tiny_models import tiny_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("llama", vocab_size=49152, max_position_embeddings=1024).save_pretrained(folder)
    smollm2.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tuned_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with slightly other weights in its last three blocks."""
    import torch

    from introbench.models.checkpoint import Checkpoint

    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    shutil.copytree(tiny_folder, folder)
    model = Checkpoint(str(folder)).load()
    draw = torch.Generator().manual_seed(9)
    for layer in model.model.layers[1:]:
        for parameter in layer.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    model.save_pretrained(folder)
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

    class Told:
        def line(self, text: str) -> None:
            lines.append(text)

        def status(self, text: str, bar: str) -> None:
            lines.append(text)

        def close(self) -> None:
            pass

    monkeypatch.setattr(progress, "REPORTER", progress.Reporter(Told()))
    return lines


@pytest.fixture
def nothing_loaded() -> Iterator[None]:
    """No model is loaded when the test begins; the one that was is there again when it ends."""
    from introbench.provider.resident import RESIDENT

    before = dict(RESIDENT)
    RESIDENT.clear()
    yield
    RESIDENT.clear()
    RESIDENT.update(before)
