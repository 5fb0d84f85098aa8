"""Every family of transformers that is a language model or has one inside, built tiny from its own configuration.

The matrix of models (`model_matrix`) tests a few families in depth and writes their configurations by hand. Here the
sizes of a family's default configuration are made small by their names, so that families nobody has written down are
tried as well: each is written to a folder, loaded as a user's model would be, and compared with uncached passes.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from tabulate import tabulate
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    PreTrainedModel,
)

from introbench.engine import TransformersEngine
from introbench.errors import InputError, first_line
from introbench.models.checkpoint import Checkpoint
from introbench.models.loaders import loader_of
from introbench.validation.word_tokenizer import piece_tokenizer

LONGEST_REASON = 120
"""Characters of a reason in the tables."""

MOST_PARAMETERS = 20_000_000
"""A family that has more, in spite of all sizes that are known here, is not built."""

_SMALL: dict[str, object] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size"), 64),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "inner_dim", "encoder_ffn_dim"), 128
    ),
    **dict.fromkeys(("intermediate_size_mlp", "shared_intermediate_size", "decoder_ffn_dim"), 128),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "query_pre_attn_scalar", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 16),
    **dict.fromkeys(("rotary_dim", "kv_lora_rank", "q_lora_rank", "o_lora_rank", "global_head_dim"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 1024),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **{"attention_chunk_size": 32, "sliding_window": 6, "use_mamba_kernels": False},
    **{"hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "index_topk": 8, "index_n_heads": 2},
    **{"mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "state_size": 8},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "index_head_dim": 16, "mamba_num_heads": 8},
}
"""Sizes of a small language model, by the names that configurations have for them."""

_SMALL_TOWER: dict[str, object] = {
    **dict.fromkeys(("hidden_size", "embed_dim", "d_model", "projection_dim", "hidden_dim", "intermediate_size"), 64),
    **dict.fromkeys(("depth", "num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers"), 1),
    **dict.fromkeys(("num_heads", "num_attention_heads", "encoder_attention_heads", "num_key_value_heads"), 2),
    **dict.fromkeys(("out_hidden_size", "encoder_ffn_dim", "decoder_ffn_dim", "output_dim", "vision_output_dim"), 64),
    **dict.fromkeys(("projector_input_dim", "projector_output_dim", "mlp_dim", "text_hidden_size"), 64),
    **{"image_size": 28, "patch_size": 14, "num_global_layers": 0, "fullatt_block_indexes": [0]},
    **{"deepstack_visual_indexes": [0], "vocab_size": 64},
}
"""Sizes of a small encoder of pictures or sound."""

_OWN: dict[str, dict[str, object]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 6},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_vl": {"text_config": {"layer_types": ["conv", "full_attention"] * 2}},
    "granitemoehybrid": {"layer_types": ["attention"] * 4, "num_local_experts": 0, "num_experts_per_tok": 0},
}
"""What else some families need, to be built or to be as they are shared."""

_POSITIONS_OF_PICTURES = ("qwen2_vl", "qwen2_5", "qwen3_vl", "glm4v", "glm46v", "glm_ocr", "glmga", "paddleocr")
"""Parts of the names of families that turn a head's coordinates by a token's place in a picture, too."""


def every_family() -> list[str]:
    """The types of models that the installed transformers lists as language models, or as models with one inside."""
    listed = (MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_FOR_MULTIMODAL_LM_MAPPING)
    known = {config for mapping in listed for config in mapping}
    return sorted(family for family, config in CONFIG_MAPPING.items() if config in known)


def small_config(family: str, vocabulary: int) -> Any:
    """A family's configuration with all sizes small whose names are known here.

    Args:
        family: Its type, as transformers names it.
        vocabulary: Number of tokens.
    """
    config_class = CONFIG_MAPPING[family]
    of_tokens = dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), vocabulary)
    small = _shrunk(config_class(), _SMALL | of_tokens)
    for name, value in _OWN.get(family, {}).items():
        small[name] = small[name] | value if isinstance(value, dict) and name in small else value
    return config_class(**small)


def _shrunk(config: Any, sizes: Mapping[str, object]) -> dict[str, Any]:
    """The sizes that a configuration has, and those of the configurations inside of it."""
    values = config.to_dict()
    small: dict[str, Any] = {name: size for name, size in sizes.items() if values.get(name) is not None}
    # Many configurations have no number for these two unless one is given.
    small |= {name: sizes[name] for name in ("head_dim", "num_key_value_heads") if name in values and name in sizes}
    if values.get("kv_lora_rank") and "num_key_value_heads" in small:
        small["num_key_value_heads"] = small["num_attention_heads"]  # latent attention has no heads that share keys
    if any(kind in config.model_type for kind in _POSITIONS_OF_PICTURES) and "rope_parameters" in values:
        rope = {"rope_type": "default", "rope_theta": 10000.0} | (values["rope_parameters"] or {})
        half = 8 * float(rope.get("partial_rotary_factor") or 1)
        small["rope_parameters"] = rope | {"mrope_section": [int(half) // 4, int(half) // 4, int(half) // 2]}
    for name in getattr(config, "sub_configs", None) or {}:
        inner = getattr(config, name, None)
        if inner is not None and not isinstance(inner, dict):
            is_text = inner is config.get_text_config() or any(word in name for word in ("text", "llm", "thinker"))
            small[name] = _shrunk(inner, sizes if is_text else _SMALL_TOWER) | {"model_type": inner.model_type}
    return small


def try_family(family: str, folder: Path) -> str:
    """Build a family tiny, load it as a user's model would be loaded, and compare it with uncached passes.

    Args:
        family: Its type.
        folder: Where the model is written.

    Returns:
        `runs`, with the path and the class that was loaded, or `refused`, `not run` or `not built`, with the reason.
    """
    try:
        _save(family, folder)
    except Exception as error:  # whatever a class says to sizes that do not fit each other
        return f"not built: {type(error).__name__}: {first_line(error)}"
    try:
        checkpoint = Checkpoint(str(folder), device="cpu", products="blas")
        checkpoint.check()
        model = checkpoint.load()
        path = TransformersEngine(model, memory=2**30, products="blas").notes["path"].partition(":")[0]
    except InputError as error:
        reason = str(error).removeprefix(f"model inject/{folder}: ")
        return f"refused: {re.sub(r'^model type [^ ]+: ', '', reason)}"
    except Exception as error:
        return f"not run: {type(error).__name__}: {first_line(error)}"
    return f"runs, {path} path ({type(model).__name__})"


def _save(family: str, folder: Path) -> None:
    tokenizer = piece_tokenizer()
    config = small_config(family, len(tokenizer))
    make: Callable[..., PreTrainedModel] = loader_of(config).from_config
    torch.manual_seed(0)
    with torch.device("meta"):
        size = sum(math.prod(weight.shape) for weight in make(config).parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size} parameters with all known sizes made small")
    model = make(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3 if weight.dim() == 2 else 0.05)
    model.save_pretrained(folder)
    config.save_pretrained(folder)  # that of the whole, of which the class may have kept the text model's alone
    tokenizer.save_pretrained(folder)


def families_table(results: Mapping[str, str]) -> str:
    """What became of every family, as Markdown.

    Args:
        results: What `try_family` said, by family.
    """
    rows = []
    for family, result in results.items():
        outcome, _, why = result.partition(": " if not result.startswith("runs") else ", ")
        rows.append([family, outcome, shorten(why.replace("|", "\\|"), LONGEST_REASON, placeholder=" ...")])
    counts = ", ".join(
        f"{sum(row[1] == outcome for row in rows)} {outcome}" for outcome in dict.fromkeys(row[1] for row in rows)
    )
    return "\n\n".join([f"Of {len(rows)} families: {counts}.", tabulate(rows, ["family", "", "how, or why"], "github")])
