"""The parts of a model, and models that are refused."""

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, arms, assert_true, requests_of
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import input_of
from introbench.errors import InputError
from introbench.validation.tiny_models import VOCABULARY, tiny_model


def test_models_without_a_kv_cache_are_refused() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM, MambaConfig, MambaForCausalLM

    recurrent = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(InputError, match=r"mamba: keeps a recurrent state; expected a KV cache"):
        TransformersEngine(recurrent)
    config = Lfm2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, layer_types=["conv", "full_attention"]
    )
    with pytest.raises(InputError, match=r"lfm2: has blocks of type conv; expected attention with a KV cache"):
        TransformersEngine(Lfm2ForCausalLM(config))


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


def test_what_a_configurations_blocks_are_decides_and_not_its_class() -> None:
    from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

    sizes = {
        **{"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "shared_intermediate_size": 48},
        **{"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8},
        **{"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "rope"},
    }
    dense, hybrid = (
        GraniteMoeHybridForCausalLM(GraniteMoeHybridConfig(**sizes, layer_types=kinds)).eval().requires_grad_(False)
        for kinds in (["attention"] * 4, ["attention", "mamba", "attention", "attention"])
    )
    requests = requests_of(PRIOR, QUESTIONS, arms(2))
    assert_true(dense, requests, TransformersEngine(dense).read(requests))
    with pytest.raises(InputError, match="granitemoehybrid: keeps a recurrent state"):
        TransformersEngine(hybrid)


@pytest.mark.parametrize("family", ["mistral3", "llama4"])
def test_the_text_model_inside_of_a_model_for_pictures_is_run(family: str) -> None:
    model = tiny_model(family)
    parts = find_parts(model)
    assert len(parts.layers) == 4
    assert any(part is parts.embeddings for part in parts.decoder.modules())
    requests = requests_of(PRIOR, QUESTIONS, arms(2))
    assert_true(model, requests, TransformersEngine(model).read(requests))


def test_a_tower_of_as_many_blocks_is_not_taken_for_the_text_model() -> None:
    model = tiny_model("llama4")
    holder = model.get_decoder()
    tower = torch.nn.Module()
    tower.blocks = torch.nn.ModuleList([torch.nn.Identity() for _ in range(4)])
    holder._modules = {"tower": tower, **holder._modules}
    assert "tower" in dict(holder.named_children())
    assert all(layer is not block for layer in find_parts(model).layers for block in tower.blocks)
