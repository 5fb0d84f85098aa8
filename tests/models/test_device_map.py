"""A model whose device map leaves most of it on disk has the numbers of the same model in memory."""

from pathlib import Path
from typing import Any

import pytest
import torch

from introbench.engine import Arms, Request, TransformersEngine, Want
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune

OUTSIDE = ("model.embed_tokens", "model.norm", "lm_head")
PLACES = {"model.rotary_emb": "cpu", "model.layers.0": "cpu", "model.layers.2": "cpu"}
PLACES |= dict.fromkeys(("model.layers.1", "model.layers.3", *OUTSIDE), "disk")
PRIOR = tuple(range(100, 140))
WANT = Want(tuple(range(0, 49152, 64)), top=5, lens=True, residuals=True)


def requests(**arms: Any) -> list[Request]:
    draw = torch.Generator().manual_seed(3)
    batch = Arms.steered({block: torch.randn(3, 32, generator=draw) for block in (1, 2)}, **arms)
    return [Request((*PRIOR, *range(7, 9 + number)), len(PRIOR), WANT, batch) for number in range(3)]


def assert_equal(one: TransformersEngine, other: TransformersEngine, fillers: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(one.read(requests(**fillers[0])), other.read(requests(**fillers[1])), strict=True):
        assert torch.equal(ours.logprobs, theirs.logprobs)
        assert torch.equal(ours.lens, theirs.lens)
        assert torch.equal(ours.residuals, theirs.residuals)


@pytest.mark.parametrize("fast", [True, False])
def test_a_model_on_disk_has_the_numbers_of_one_in_memory(tiny_folder: Path, fast: bool) -> None:
    here, away = Checkpoint(str(tiny_folder)), Checkpoint(str(tiny_folder), device_map=PLACES)
    away.check()
    model = away.load()
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu", "meta"}
    engine = TransformersEngine(model, fast=fast)
    assert engine.notes["readout"].startswith("float32 norm and unembedding")
    assert engine.notes["path"].startswith("fast" if fast else "plain")
    assert_equal(TransformersEngine(here.load(), fast=fast), engine, [{}, {}])
    assert model.lm_head.weight.device.type == "meta", "what was fetched is let go of"


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_fine_tune_shares_the_places_of_its_base(
    tiny_folder: Path, tuned_folder: Path, adapter: Path, kind: str
) -> None:
    name = str(adapter if kind == "adapter" else tuned_folder)
    engines, fillers = [], []
    for checkpoint in (Checkpoint(str(tiny_folder)), Checkpoint(str(tiny_folder), device_map=PLACES)):
        model = checkpoint.load()
        finetune = Finetune(name, checkpoint)
        finetune.check()
        weights = finetune.load(model)
        assert (weights.model is model) == (kind == "adapter"), "an adapter needs no second copy"
        assert getattr(weights.model, "hf_device_map", None) == getattr(model, "hf_device_map", None)
        engines.append(TransformersEngine(model))
        fillers.append({"filler": weights})
    assert_equal(*engines, fillers)
    first, plain = (engines[0].read(requests(**each))[0] for each in (fillers[0], {}))
    assert not torch.equal(first.logprobs, plain.logprobs), "the cache is the fine-tune's"


def test_training_on_a_base_that_is_on_disk_is_refused(tiny_folder: Path, quick: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder), device_map=PLACES)
    with pytest.raises(InputError, match=r"finetune lora:cats: parts of its base are on disk"):
        Finetune("lora:cats", checkpoint).load(checkpoint.load())
    assert not [*quick.glob("finetunes/*")]
