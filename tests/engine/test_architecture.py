"""The parts of a model, and models that are refused."""

import pytest
import torch
from transformers import PreTrainedModel

from introbench.engine import Engine
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import input_of
from introbench.errors import InputError
from introbench.validation.tiny_models import VOCABULARY, tiny_model


def test_models_without_a_kv_cache_are_refused() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM, MambaConfig, MambaForCausalLM

    recurrent = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(InputError, match=r"mamba: keeps a recurrent state; expected a KV cache"):
        Engine(recurrent)
    config = Lfm2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, layer_types=["conv", "full_attention"]
    )
    with pytest.raises(InputError, match=r"lfm2: has blocks of type conv; expected attention with a KV cache"):
        Engine(Lfm2ForCausalLM(config))


def test_parts_are_found_by_their_role(any_model: PreTrainedModel) -> None:
    parts = find_parts(any_model)
    assert len(parts.layers) == 4
    assert parts.unembedding is any_model.get_output_embeddings()
    assert parts.embeddings is any_model.get_input_embeddings()
    assert parts.device == torch.device("cpu")
    with input_of(parts.unembedding) as normed, input_of(parts.final_norm) as residual, torch.inference_mode():
        any_model(torch.tensor([[5, 9, 33]]), use_cache=False)
        assert torch.equal(parts.final_norm(residual[0]), normed[0]), "nothing stands between norm and unembedding"


def test_a_model_whose_parts_cannot_be_told_is_refused() -> None:
    model = tiny_model("llama")
    model.model.more_layers = torch.nn.ModuleList([torch.nn.Identity() for _ in range(4)])
    with pytest.raises(InputError, match="2 stacks of 4 blocks, 1 norms after them and an unembedding found"):
        find_parts(model)
    headless = tiny_model("llama").model
    with pytest.raises(InputError, match="1 stacks of 4 blocks, 1 norms after them and no unembedding found"):
        find_parts(headless)
