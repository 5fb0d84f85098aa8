"""Watching an engine: the tokens that it runs, and what it adds to them."""

import pytest
import torch
from transformers import PreTrainedModel

from introbench.checks.watch import watching
from introbench.engine import Arms, Request, TransformersEngine, Want

PRIOR, QUESTION = (5, 9, 33, 2, 71, 18), (7, 90, 4)
TOKENS = (*PRIOR, *QUESTION)
VECTORS = torch.stack([torch.zeros(32), torch.randn(32, generator=torch.Generator().manual_seed(0))])


@pytest.mark.parametrize("fast", [True, False])
def test_tokens_and_additions_are_observed(llama: PreTrainedModel, fast: bool) -> None:
    engine = TransformersEngine(llama, fast=fast)
    shares = torch.tensor([[1.0] * 6, [0.0, 1.0, 0.5, 0.0, 2.0, 0.0]])
    arms = Arms.steered({1: VECTORS, 2: VECTORS}, profile=shares)
    with watching([engine.weights], 1, VECTORS, len(TOKENS)) as observed:
        engine.read([Request(TOKENS, len(PRIOR), Want((1, 2)), arms)])
    assert observed.ids == [{token} for token in TOKENS]
    assert observed.blind_because == ""
    expected = torch.zeros(2, len(TOKENS))
    expected[1, : len(PRIOR)] = shares[1] * VECTORS[1].norm()
    torch.testing.assert_close(observed.gained, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(observed.total, shares.sum(dim=1, keepdim=True) * VECTORS, atol=1e-5, rtol=1e-4)


def test_tokens_alone_are_observed_where_nothing_is_added(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    with watching([engine.weights], None, VECTORS[:1], len(TOKENS)) as observed:
        engine.read([Request(TOKENS, len(PRIOR), Want((1, 2)))])
    assert observed.ids == [{token} for token in TOKENS]
    assert observed.blind_because == "nothing is added before the last block"


def test_no_hook_stays_on_the_model(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    before = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in llama.modules()]
    with watching([engine.weights], 1, VECTORS, len(TOKENS)):
        pass
    assert [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in llama.modules()] == before
