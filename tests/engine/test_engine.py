"""The engine against one uncached forward pass per conversation."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from engine_requests import (
    PRIOR,
    QUESTIONS,
    active,
    arms,
    assert_true,
    forking,
    hooks_and_patches,
    in_part,
    requests_of,
    truth,
)
from transformers import PreTrainedModel

from introbench import progress
from introbench.engine import Arms, TransformersEngine
from introbench.engine.kernels import candidates
from introbench.engine.products import available
from introbench.errors import InputError
from introbench.validation.tiny_models import OWN_ATTENTION, VOCABULARY, tiny_model

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("device", DEVICES)
def test_every_path_gives_what_one_forward_pass_gives(any_model: PreTrainedModel, device: str, fast: bool) -> None:
    model = copy.deepcopy(any_model).to(device)  # type: ignore[arg-type]
    engine = TransformersEngine(model, fast=fast)
    is_fast = fast and model.config.model_type not in OWN_ATTENTION
    assert engine.notes["path"].startswith("fast: shared prior turns" if is_fast else "plain: question by question")
    requests = [
        *requests_of(PRIOR, QUESTIONS, arms(3)),
        *requests_of(PRIOR, QUESTIONS, None),
        *requests_of(PRIOR, QUESTIONS, arms(2, blocks=(0, 1), seed=2)),
        *requests_of(PRIOR, QUESTIONS, arms(2, blocks=(3, 4), seed=3)),
        *requests_of(PRIOR[:1], QUESTIONS, arms(2)),
        *requests_of(PRIOR, QUESTIONS, active(2)),
        *requests_of(PRIOR, QUESTIONS, active(2, blocks=(3, 4))),
        *requests_of(PRIOR, QUESTIONS, in_part(3)),
        *requests_of(PRIOR, QUESTIONS, forking(6)),
        *requests_of(PRIOR, QUESTIONS, replace(forking(6), profile=in_part(6).profile)),
    ]
    readings = engine.read(requests)
    assert_true(model, requests, readings)
    moved = (readings[0].logprobs[0] - readings[0].logprobs[1]).abs().max()
    assert moved > 1e-3, "the injection must move the answer for this to test anything"


def test_strength_zero_is_no_injection_bit_for_bit(any_model: PreTrainedModel) -> None:
    engine = TransformersEngine(any_model)
    nothing = engine.read(requests_of(PRIOR, QUESTIONS, Arms(rows=2, first=1, deltas={})))
    zeros = engine.read(requests_of(PRIOR, QUESTIONS, arms(2, scale=0.0)))
    for reading, of_zeros in zip(nothing, zeros, strict=True):
        assert torch.equal(reading.logprobs, of_zeros.logprobs)


@pytest.mark.parametrize("fast", [True, False])
def test_a_part_of_the_prior_turn_is_steered_by_exactly_its_share(llama: PreTrainedModel, fast: bool) -> None:
    """The definition: each block's output at each token gets share x delta, against a hook of the test's own."""
    batch = in_part(3)
    engine = TransformersEngine(llama, fast=fast)
    engine._path = (
        engine._fast_path(16, candidates(available(torch.device("cpu"), torch.float32))[0]) if fast else engine._path
    )
    readings = engine.read(requests_of(PRIOR, QUESTIONS, batch))
    assert batch.profile is not None
    for question, reading in zip(QUESTIONS, readings, strict=True):
        for row in range(3):
            shares = torch.cat([batch.profile[row], torch.zeros(len(question))])
            handles = [
                llama.model.layers[block].register_forward_hook(
                    lambda _m, _a, output, add=shares[:, None] * delta[row]: output + add
                )
                for block, delta in batch.deltas.items()
            ]
            expected = torch.log_softmax(llama(torch.tensor([PRIOR + question])).logits[0, -1], dim=-1)
            for handle in handles:
                handle.remove()
            torch.testing.assert_close(reading.logprobs[row], expected, atol=1e-4, rtol=0)
    by_ones = replace(batch, profile=torch.ones(3, len(PRIOR)))
    in_full = replace(batch, profile=None)
    (first,), (second,) = (engine.read(requests_of(PRIOR, QUESTIONS[:1], same)) for same in (by_ones, in_full))
    assert torch.equal(first.logprobs, second.logprobs)


@pytest.mark.parametrize("fast", [True, False])
def test_a_failure_half_way_leaves_the_model_and_what_is_kept_as_they_were(fast: bool) -> None:
    model = tiny_model("llama")
    engine = TransformersEngine(model, fast=fast)
    before = hooks_and_patches(model)
    requests = requests_of(PRIOR, QUESTIONS, arms(2))
    readings = engine.read(requests)

    def explode(*_: object) -> None:
        raise RuntimeError("in the middle")

    for others in (requests_of(PRIOR, [(1, 2)], requests[0].arms), requests_of(PRIOR, QUESTIONS, arms(2, seed=9))):
        bomb = model.model.layers[2].mlp.register_forward_hook(explode)
        with pytest.raises(RuntimeError, match="in the middle"):
            engine.read(others)
        bomb.remove()
        assert hooks_and_patches(model) == before
        for again, reading in zip(engine.read(requests), readings, strict=True):
            assert torch.equal(again.logprobs, reading.logprobs)


def test_one_bad_request_does_not_spoil_the_next_ones(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    good = requests_of(PRIOR, QUESTIONS, arms(2))
    with pytest.raises(InputError, match="token id 102: expected one of the model's 97"):
        engine.read([*good, *requests_of(PRIOR, [(VOCABULARY + 5,)], good[0].arms)])
    assert_true(llama, good, engine.read(good))


@pytest.mark.parametrize("fast", [True, False])
def test_a_cancelled_step_ends_between_two_blocks(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    engine = TransformersEngine(model, fast=fast)
    before = hooks_and_patches(model)
    ticks = 0

    class Cancelled(BaseException):
        pass

    def cancel() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 7:
            raise Cancelled

    monkeypatch.setattr(progress, "_cancellation", [cancel])
    requests = requests_of(PRIOR, QUESTIONS, arms(2))
    with pytest.raises(Cancelled):
        engine.read(requests)
    assert hooks_and_patches(model) == before
    assert_true(model, requests, engine.read(requests))


def test_weights_on_several_devices(tmp_path: Any) -> None:
    from accelerate import dispatch_model

    model = tiny_model("llama")
    requests = requests_of(PRIOR, QUESTIONS, arms(3))
    expected = [truth(model, request) for request in requests]
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {f"model.layers.{block}": "disk" if block % 2 else "cpu" for block in range(4)}
    dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    engine = TransformersEngine(model)
    assert engine.notes["path"].startswith("fast")
    for wanted, reading in zip(expected, engine.read(requests), strict=True):
        torch.testing.assert_close(reading.logprobs, wanted, atol=1e-4, rtol=0)
    assert all("forward" in vars(layer) for layer in model.model.layers), "accelerate's own patches are still there"


def test_conversations_beyond_the_positions_are_refused() -> None:
    engine = TransformersEngine(tiny_model("gpt2"))
    with pytest.raises(InputError, match="conversation of 131 tokens: expected at most 128"):
        engine.read(requests_of(PRIOR * 13, [(1,)], None))
    engine.model.config.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 64}
    with pytest.raises(InputError, match="conversation of 71 tokens: expected at most 64"):
        engine.read(requests_of(PRIOR * 7, [(1,)], None))
