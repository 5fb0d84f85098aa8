"""Tiny models of every family: every layer matters, and a folder of one is a model like any other."""

from pathlib import Path

import pytest
import torch

from introbench.models.checkpoint import Checkpoint
from introbench.validation.tiny_models import FAMILIES, VOCABULARY, save_family, tiny_model


def test_a_family_is_the_same_model_every_time_and_takes_other_sizes() -> None:
    weights, again = (tiny_model("llama").state_dict() for _ in range(2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    assert tiny_model("llama", num_hidden_layers=2).config.num_hidden_layers == 2


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_layer_changes_what_is_answered(family: str) -> None:
    model = tiny_model(family)
    tokens = torch.tensor([[5, 9, 33, 2]])
    assert model.config.vocab_size == VOCABULARY
    with torch.inference_mode():
        before = model(tokens).logits
        for parameters in [
            block.parameters()
            for block in next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
        ]:
            kept = [(parameter, parameter.clone()) for parameter in parameters if parameter.dim() > 1]
            for parameter, _ in kept:
                parameter.zero_()
            assert (model(tokens).logits - before).abs().max() > 1e-3
            for parameter, value in kept:
                parameter.copy_(value)


def test_a_saved_family_has_a_tokenizer_and_a_chat_template(tmp_path: Path) -> None:
    save_family("qwen3", tmp_path)
    checkpoint = Checkpoint(str(tmp_path))
    checkpoint.check()
    assert checkpoint.load().config.vocab_size == len(checkpoint.tokenizer)
    assert checkpoint.tokenizer.chat_template
