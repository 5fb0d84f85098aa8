"""What is read at the last token: log-probabilities, the logit lens, residuals, divergence."""

import pytest
import torch
from engine_requests import EVERYTHING, PRIOR, QUESTIONS, arms, asked, forking, truth
from transformers import PreTrainedModel

from introbench.engine import Arms, Engine, Want
from introbench.engine.hooks import steering
from introbench.validation.tiny_models import tiny_model


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "cohere", "gpt_oss"])
def test_the_lens_and_the_residuals_are_those_of_one_forward_pass(architecture: str) -> None:
    model = tiny_model(architecture)
    engine = Engine(model)
    assert engine.notes["path"].startswith("fast")
    own = forking(6).deltas
    alike = Arms.steered({block: delta[[0, 1, 0, 2, 3, 1]] for block, delta in own.items()})  # some to the very end
    want = Want(tokens=EVERYTHING.tokens, lens=True, residuals=True)
    requests = [request for under in (arms(3), alike, None) for request in asked(PRIOR, QUESTIONS, under, want)]
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
        own = torch.log_softmax(states.logits[:, -1], dim=-1)
        torch.testing.assert_close(reading.lens[3], own, atol=1e-4, rtol=0)


def test_top_tokens_and_forms_agree(llama: PreTrainedModel) -> None:
    (reading,) = Engine(llama).read(asked(PRIOR, [(7, 8)], arms(4)))
    best = reading.logprobs.topk(3, dim=-1)
    assert torch.equal(best.indices, reading.top_ids)
    torch.testing.assert_close(best.values, reading.top_logprobs)
    torch.testing.assert_close(reading.logprobs.exp().sum(dim=-1), torch.ones(4))


def test_divergence_is_that_of_each_arms_distribution_from_the_firsts(llama: PreTrainedModel) -> None:
    under = arms(4, scale=0.3)
    (reading,) = Engine(llama).read(asked(PRIOR, QUESTIONS[1:2], under, Want(divergence=True)))
    every = truth(llama, asked(PRIOR, QUESTIONS[1:2], under)[0]).double()
    expected = [torch.nn.functional.kl_div(row, every[0], reduction="sum", log_target=True) for row in every]
    torch.testing.assert_close(reading.divergence, torch.stack(expected), atol=1e-6, rtol=1e-4)
    assert reading.divergence[0] == 0
    assert reading.divergence[1:].min() > 1e-3


def test_bfloat16_models_are_read_in_float32() -> None:
    rounded = tiny_model("llama").bfloat16()
    engine = Engine(rounded)
    assert engine.notes["readout"].startswith("float32")
    assert engine.notes["path"].startswith("fast")
    request = asked(PRIOR, [(7, 8)], None)[0]
    (reading,) = engine.read([request])
    assert reading.logprobs.dtype == torch.float32
    torch.testing.assert_close(reading.logprobs, truth(rounded, request), atol=0.5, rtol=0)
    gap = reading.logprobs[0, 4] - reading.logprobs[0, 5]  # on bfloat16 logits, a multiple of their rounding step
    assert gap != gap.bfloat16().float()
