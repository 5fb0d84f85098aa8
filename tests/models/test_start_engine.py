"""Which engine a checkpoint starts, and what it refuses before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_vllm import FakeVllm, serving
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine
from introbench.engine.hooks import looking_at
from introbench.engine.vllm import server
from introbench.engine.vllm.engine import VllmEngine
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune
from introbench.models.start_engine import start_engine


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "vlm"}, "engine='vlm': expected one of transformers, vllm"),
        ({"vllm": {"port": 1}}, "vllm={'port': 1}: expected another engine than transformers"),
        ({"base_url": "http://x"}, "--model-base-url='http://x': expected another engine than transformers"),
        ({"engine": "vllm", "device_map": "auto"}, "device_map='auto': expected another engine than vllm"),
        ({"engine": "vllm", "vllm": "tp=8"}, "vllm='tp=8': expected arguments of vllm serve by name"),
        ({"engine": "vllm", "base_url": "http://x", "dtype": "float16"}, "dtype='float16': expected another engine"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("{", r"\{").replace("(", r"\(")):
        Checkpoint("smollm2", **options)


def test_the_first_block_alone_gives_what_it_gives_in_the_whole_model(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    whole, first = checkpoint.load(), checkpoint.load_first_block()
    assert len(first.model.layers) == 1
    ids = torch.tensor([[3, 7, 1, 12]])
    states = []
    for model in (whole, first):
        with torch.inference_mode(), looking_at(model.model.layers, [0], range(4)) as seen:
            model.model(ids)
        states.append(seen[0])
    assert torch.equal(*states)
    assert torch.equal(whole.lm_head.weight, first.lm_head.weight)


def test_a_server_that_runs_is_used(tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder)).load()
    with serving(FakeVllm(model, str(tiny_folder))) as url:
        started = start_engine(Checkpoint(str(tiny_folder), engine="vllm", base_url=url))
        assert isinstance(started.engine, VllmEngine)
        assert started.engine.n_layers == model.config.num_hidden_layers
        assert started.facts["device"] == "vLLM"
        started.engine.close()
    here = start_engine(Checkpoint(str(tiny_folder)))
    assert isinstance(here.engine, TransformersEngine)
    assert here.fingerprint != started.fingerprint


def test_a_server_of_another_model_is_refused(tiny_folder: Path, llama: PreTrainedModel) -> None:
    with serving(FakeVllm(llama, "elsewhere/other")) as url, pytest.raises(InputError, match="serves elsewhere/other"):
        start_engine(Checkpoint(str(tiny_folder), engine="vllm", base_url=url))


def test_without_vllm_one_line_says_so(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.shutil, "which", lambda name: None)
    monkeypatch.setattr(server.sys, "executable", "/nowhere/python")
    with pytest.raises(InputError, match=r"no command vllm; expected vLLM and vllm-lens to be installed"):
        start_engine(Checkpoint(str(tiny_folder), engine="vllm"))


def test_a_server_that_ends_at_once_is_named(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "vllm"
    command.write_text("#!/bin/sh\necho 'ValueError: no room for the model'\nexit 3\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match=r"has ended with status 3 \(ValueError: no room for the model\)"):
        start_engine(Checkpoint(str(tiny_folder), engine="vllm"))


def test_a_finetune_needs_both_in_one_process(tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="-M engine=vllm runs one set of weights"):
        Finetune("lora:cats", Checkpoint(str(tiny_folder), engine="vllm")).check()
