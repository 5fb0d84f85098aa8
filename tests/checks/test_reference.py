"""The reference, against hooks and passes of the test's own."""

import pytest
import torch
from helpers import two_passes
from torch import Tensor
from transformers import PreTrainedModel

from introbench.checks.reference import Additions, reference_logprobs
from introbench.engine import Weights
from introbench.validation.tiny_models import tiny_model

PRIOR, QUESTION = [5, 9, 33, 2, 71, 18], [7, 90, 4]
TOKENS = (*PRIOR, *QUESTION)
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(0))
IN_PRIOR = torch.tensor([1.0] * len(PRIOR) + [0.0] * len(QUESTION))
EVERYWHERE = torch.ones(len(TOKENS))


def close(logprobs: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(logprobs.double(), expected.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("shares", "to_the_end"), [(IN_PRIOR, False), (EVERYWHERE, True)])
def test_one_pass_gives_what_a_cache_filled_under_the_injection_gives(
    llama: PreTrainedModel, shares: Tensor, to_the_end: bool
) -> None:
    added = Additions({1: VECTOR, 2: -VECTOR}, shares)
    expected, _ = two_passes(llama, PRIOR, QUESTION, {1: VECTOR, 2: -VECTOR}, to_the_end=to_the_end)
    close(reference_logprobs(Weights(llama), TOKENS, len(PRIOR), added), expected)


def test_every_token_gets_its_share(llama: PreTrainedModel) -> None:
    shares = torch.tensor([0.0, 0.5, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    handle = llama.model.layers[1].register_forward_hook(lambda _m, _a, output: output + shares[:, None] * VECTOR)
    with torch.inference_mode():
        expected = torch.log_softmax(llama(torch.tensor([TOKENS])).logits[0, -1], dim=-1)
    handle.remove()
    close(reference_logprobs(Weights(llama), TOKENS, len(PRIOR), Additions({1: VECTOR}, shares)), expected)


def test_a_filler_reads_the_prior_turn(llama: PreTrainedModel) -> None:
    filler = tiny_model("llama")
    filler.model.layers[0].mlp.up_proj.weight.data *= 1.5
    added = Additions({1: VECTOR}, IN_PRIOR)
    expected, _ = two_passes(llama, PRIOR, QUESTION, {1: VECTOR}, filler=filler)
    logprobs = reference_logprobs(Weights(llama), TOKENS, len(PRIOR), added, filler=Weights(filler))
    close(logprobs, expected)
    assert (logprobs - reference_logprobs(Weights(llama), TOKENS, len(PRIOR), added)).abs().max() > 1e-3


def test_no_hook_stays_on_the_model(llama: PreTrainedModel) -> None:
    reference_logprobs(Weights(llama), TOKENS, len(PRIOR), Additions({1: VECTOR}, EVERYWHERE))
    assert not any(module._forward_hooks for module in llama.modules())
