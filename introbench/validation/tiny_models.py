"""Tiny models with random weights, one for every model family that the instrument is tested on."""

from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel

from introbench.models.loaders import loader_of
from introbench.validation.word_tokenizer import piece_tokenizer

VOCABULARY = 97
"""Number of tokens of a tiny model."""

_TINY: dict[str, object] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


FAMILIES: dict[str, dict[str, object]] = {
    "llama": _TINY,
    "qwen2": _TINY,
    "qwen3": _TINY,
    "mistral": _TINY | {"sliding_window": 6},
    "gemma2": _TINY | {"sliding_window": 6, "query_pre_attn_scalar": 8},
    "gemma3_text": _TINY | {"sliding_window": 6, "query_pre_attn_scalar": 8},
    "phi3": _TINY,
    "olmo2": _TINY,
    "gpt_neox": _TINY,
    "gpt2": {
        "vocab_size": VOCABULARY,
        "n_embd": 32,
        "n_layer": 4,
        "n_head": 4,
        "n_positions": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "granite": _TINY | {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    "cohere": _TINY | {"logit_scale": 0.25},
    "stablelm": _TINY,
    "falcon": {key: value for key, value in _TINY.items() if "head" not in key and "key" not in key}
    | {"num_attention_heads": 4, "new_decoder_architecture": True, "num_kv_heads": 2},
    "qwen3_moe": _TINY | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "mixtral": _TINY | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": _TINY | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6},
    "olmo3": _TINY | {"sliding_window": 6},
    "cohere2": _TINY | {"sliding_window": 6},
    "gemma": _TINY,
    "glm4": _TINY,
    "opt": _TINY | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 4, "n_head": 4},
    "mpt": {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 128},
}
"""Configurations of the model families that the instrument supports, by the name that transformers uses."""

_EYES: dict[str, object] = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": 28, "patch_size": 14},
}

WRAPPED: dict[str, dict[str, object]] = {
    "mistral3": {
        "text_config": _TINY | {"model_type": "mistral"},
        "vision_config": _EYES | {"model_type": "pixtral"},
        "image_token_index": 5,
    },
    "llava": {
        "text_config": _TINY | {"model_type": "llama"},
        "vision_config": _EYES | {"model_type": "clip_vision_model", "projection_dim": 32},
        "image_token_index": 5,
    },
    "llama4": {
        "text_config": _TINY | {"num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 32},
        "vision_config": _EYES | {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
    },
}
"""Configurations of families that take pictures as well, around a language model."""

OWN_ATTENTION = {"falcon", "bloom", "mpt"}
"""Families among `FAMILIES` with attention code that the fast path cannot replace."""

WITHOUT_KV_CACHE: dict[str, dict[str, object]] = {
    "mamba": {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 4},
    "jamba": _TINY
    | {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "num_experts": 2,
        "use_mamba_kernels": False,
    },
    "lfm2": _TINY | {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
}
"""Configurations of state-space and hybrid families, which have to be refused by name."""

_WIDE = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim"), 128),
    **dict.fromkeys(("head_dim", "query_pre_attn_scalar"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 1024),
    "moe_intermediate_size": 64,
}
"""Sizes that suit quantisation, which takes blocks of 64 weights, and a context that the instrument's texts fit in."""


def tiny_model(family: str, **overrides: object) -> PreTrainedModel:
    """A model with random weights that are large enough for every layer to matter.

    Args:
        family: One of `FAMILIES`, `WRAPPED` or `WITHOUT_KV_CACHE`.
        **overrides: Values of the configuration, or of that of its text model, in place of the family's.
    """
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **_values(family, overrides))
    model = loader_of(config).from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    return model.eval().requires_grad_(False)


def _values(family: str, overrides: dict[str, object]) -> dict[str, object]:
    """A family's configuration with other values; those of a wrapped family go to its text model."""
    if family in WRAPPED:
        text = WRAPPED[family]["text_config"]
        assert isinstance(text, dict)
        return WRAPPED[family] | {"text_config": text | overrides}
    return (FAMILIES | WITHOUT_KV_CACHE)[family] | overrides


def save_family(family: str, folder: Path) -> None:
    """Write a tiny model with a tokenizer and a chat template to a folder, so that it runs like any model.

    Args:
        family: One of `FAMILIES`, `WRAPPED` or `WITHOUT_KV_CACHE`.
        folder: The folder.
    """
    tokenizer = piece_tokenizer()
    known = _values(family, {})
    text = known.get("text_config", known)
    assert isinstance(text, dict)
    wide = {key: value for key, value in _WIDE.items() if key in text}
    tiny_model(family, **wide, vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
