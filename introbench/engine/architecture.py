"""Finds the parts of a transformers model that injections and readings need, or refuses the model by name."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from introbench.errors import InputError

CHUNKED = "chunked_attention"
ATTENTION_LAYERS = ("attention", "full_attention", "sliding_attention", CHUNKED)
"""Kinds of blocks, as configurations name them, that keep the keys and values of every token."""


@dataclass(frozen=True)
class Architecture:
    """The parts of a decoder-only language model.

    Attributes:
        decoder: The stack without the unembedding; it maps tokens to normed hidden states.
        layers: The decoder blocks; the output of each is the residual stream.
        final_norm: The norm between the last block and the unembedding.
        unembedding: The linear map from the residual stream to logits.
        embeddings: The map from token ids to the first residual stream.
    """

    decoder: nn.Module
    layers: tuple[nn.Module, ...]
    final_norm: nn.Module
    unembedding: nn.Module
    embeddings: nn.Module

    @property
    def device(self) -> torch.device:
        """The device that token ids are sent to."""
        device = next(self.embeddings.parameters()).device
        # accelerate keeps offloaded weights on "meta" and says where they are run
        hook: Any = getattr(self.embeddings, "_hf_hook", None)
        return torch.device(hook.execution_device) if device.type == "meta" and hook else device


def find_parts(model: PreTrainedModel) -> Architecture:
    """Locate blocks, final norm and unembedding by their role, not by one architecture's names.

    Raises:
        InputError: The model keeps no KV cache, or its parts cannot be identified.
    """
    kind = model.config.model_type
    config = model.config.get_text_config()
    blocks = set(getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ())
    others = sorted(map(str, blocks - set(ATTENTION_LAYERS)))
    # Classes of hybrid models say that they keep a state, even of configurations whose blocks are all attention.
    if getattr(model, "_is_stateful", False) and (others or not blocks):
        raise InputError(
            f"model type {kind}: keeps a recurrent state; expected a KV cache to inject through; choose another model"
        )
    if others:
        raise InputError(
            f"model type {kind}: has blocks of type {', '.join(others)}; expected attention with a KV cache to inject "
            f"through in every block; choose another model"
        )
    n_layers = getattr(config, "num_hidden_layers", 0)
    decoder = _decoder_of(model, n_layers)
    stacks = _stacks(decoder, n_layers)
    norms = [
        child
        for child in decoder.children()
        if "norm" in type(child).__name__.lower()
        and getattr(getattr(child, "weight", None), "shape", (config.hidden_size,))[-1] == config.hidden_size
    ]
    unembedding = model.get_output_embeddings()
    if len(stacks) != 1 or not norms or unembedding is None:
        raise InputError(
            f"model type {kind}: {len(stacks)} stacks of {n_layers} blocks, {len(norms)} norms after them and "
            f"{'an' if unembedding is not None else 'no'} unembedding found; expected one of each; choose another model"
        )
    return Architecture(
        decoder=decoder,
        layers=tuple(stacks[0]),
        final_norm=norms[-1],
        unembedding=unembedding,
        embeddings=model.get_input_embeddings(),
    )


def _stacks(module: nn.Module, n_layers: int) -> list[nn.ModuleList]:
    """The stacks of blocks that stand directly in a module."""
    return [child for child in module.children() if isinstance(child, nn.ModuleList) and len(child) == n_layers]


def _decoder_of(model: PreTrainedModel, n_layers: int) -> nn.Module:
    """The module with the blocks; of a model that also takes pictures or sound, that of its text model.

    Some classes give a module around it as their decoder. The text model is the one among its parts that has the
    embeddings of tokens, which an encoder of pictures has not.
    """
    decoder = model.get_decoder()
    embeddings = model.get_input_embeddings()
    for module in decoder.modules():
        if _stacks(module, n_layers) and any(part is embeddings for part in module.modules()):
            return module
    return decoder
