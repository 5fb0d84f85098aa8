"""What is read at the last token: log-probabilities, the logit lens, residuals, divergence."""

from typing import Any

import pytest
import torch
from engine_requests import EVERYTHING, PRIOR, QUESTIONS, arms, forking, requests_of, truth
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms, TransformersEngine, Want, readout
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import input_of, steering
from introbench.engine.readout import Readout, summarise
from introbench.validation.tiny_models import tiny_model


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "cohere", "gpt_oss"])
def test_the_lens_and_the_residuals_are_those_of_one_forward_pass(architecture: str) -> None:
    model = tiny_model(architecture)
    engine = TransformersEngine(model)
    assert engine.notes["path"].startswith("fast")
    vectors = forking(6).deltas
    with_twins = Arms.steered({block: delta[[0, 1, 0, 2, 3, 1]] for block, delta in vectors.items()})  # never part
    want = Want(tokens=EVERYTHING.tokens, lens=True, residuals=True)
    requests = [
        request for batch in (arms(3), with_twins, None) for request in requests_of(PRIOR, QUESTIONS, batch, want)
    ]
    for request, reading in zip(requests, engine.read(requests), strict=True):
        deltas = request.arms.deltas if request.arms else {}
        rows = request.arms.rows if request.arms else 1
        ids = torch.tensor([list(request.tokens)] * rows)
        with torch.inference_mode(), steering(engine.parts.layers, deltas, slice(0, request.prior)):
            states = model(ids, use_cache=False, output_hidden_states=True)
        for block in range(3):  # the last entry of hidden_states is after the final norm
            torch.testing.assert_close(
                reading.residuals[block], states.hidden_states[block + 1][:, -1], atol=1e-4, rtol=1e-4
            )
            assert engine.readout is not None
            lens = torch.log_softmax(engine.readout(states.hidden_states[block + 1][:, -1]), dim=-1)
            torch.testing.assert_close(reading.lens[block], lens, atol=1e-4, rtol=0)
        assert torch.equal(reading.lens[3], reading.logprobs), "the last layer is the answer itself, not normed twice"
        expected = torch.log_softmax(states.logits[:, -1], dim=-1)
        torch.testing.assert_close(reading.lens[3], expected, atol=1e-4, rtol=0)


def test_top_tokens_and_the_wanted_ones_agree(llama: PreTrainedModel) -> None:
    (reading,) = TransformersEngine(llama).read(requests_of(PRIOR, [(7, 8)], arms(4)))
    best = reading.logprobs.topk(3, dim=-1)
    assert torch.equal(best.indices, reading.top_ids)
    torch.testing.assert_close(best.values, reading.top_logprobs)
    torch.testing.assert_close(reading.logprobs.exp().sum(dim=-1), torch.ones(4))


def test_divergence_is_that_of_each_arms_distribution_from_the_firsts(llama: PreTrainedModel) -> None:
    batch = arms(4, scale=0.3)
    (reading,) = TransformersEngine(llama).read(requests_of(PRIOR, QUESTIONS[1:2], batch, Want(divergence=True)))
    of_arms = truth(llama, requests_of(PRIOR, QUESTIONS[1:2], batch)[0]).double()
    expected = [torch.nn.functional.kl_div(row, of_arms[0], reduction="sum", log_target=True) for row in of_arms]
    torch.testing.assert_close(reading.divergence, torch.stack(expected), atol=1e-6, rtol=1e-4)
    assert reading.divergence[0] == 0
    assert reading.divergence[1:].min() > 1e-3


def test_a_device_without_float64_gives_the_same_numbers(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(llama)
    requests = requests_of(PRIOR, QUESTIONS[:2], arms(3), Want(tokens=(5,), divergence=True))
    rows = arms(3).deltas
    options: dict[str, Any] = {"length": 4, "temperature": 1.0, "end": ()}
    expected = engine.read(requests), engine.continue_chat(PRIOR, rows, [1, 2, 3], **options)

    def refuse(_tensor: Tensor) -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    readings, texts = engine.read(requests), engine.continue_chat(PRIOR, rows, [1, 2, 3], **options)
    for before, after in zip(expected[0], readings, strict=True):
        torch.testing.assert_close(after.divergence, before.divergence, atol=1e-12, rtol=0)
        assert after.divergence.dtype == torch.float64
    assert texts == expected[1]


def test_bfloat16_models_are_read_in_float32() -> None:
    rounded = tiny_model("llama").bfloat16()
    engine = TransformersEngine(rounded)
    assert engine.notes["readout"].startswith("float32")
    assert engine.notes["path"].startswith("fast")
    request = requests_of(PRIOR, [(7, 8)], None)[0]
    (reading,) = engine.read([request])
    assert reading.logprobs.dtype == torch.float32
    torch.testing.assert_close(reading.logprobs, truth(rounded, request), atol=0.5, rtol=0)
    gap = reading.logprobs[0, 4] - reading.logprobs[0, 5]  # on bfloat16 logits, a multiple of their rounding step
    assert gap != gap.bfloat16().float()


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "cohere", "granite"])
def test_logits_are_scaled_and_capped_as_the_model_does(architecture: str) -> None:
    model = tiny_model(architecture)
    parts = find_parts(model)
    with torch.inference_mode(), input_of(parts.final_norm) as residual:
        expected = model(torch.tensor([[5, 9, 33]]), use_cache=False).logits
    torch.testing.assert_close(Readout(model, parts)(residual[0][0]), expected[0], atol=1e-5, rtol=1e-5)


def test_a_half_precision_unembedding_is_used_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama").bfloat16()
    read = Readout(model, find_parts(model))
    residual = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    expected = read(residual)
    assert expected.dtype == torch.float32
    monkeypatch.setattr(readout, "_CHUNK", 10)
    torch.testing.assert_close(read(residual), expected)


def test_rows_that_are_not_finite_are_marked() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, torch.nan, 0.0], [-torch.inf, 1.0, 2.0], [torch.inf, 0.0, 0.0]])
    assert summarise(logits, Want((0,), top=2)).finite == [True, False, False, False]
    assert summarise(logits, Want((1,), top=2)).finite == [True, False, True, False]


def test_what_is_not_wanted_is_empty() -> None:
    reading = summarise(torch.randn(2, 5), Want((3, 1)))
    assert reading.logprobs.shape == (2, 2)
    assert reading.top_ids.shape == (2, 0)
    assert [part.numel() for part in (reading.lens, reading.residuals, reading.divergence)] == [0, 0, 0]
