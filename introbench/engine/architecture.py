"""Find the parts of a transformers model that the instrument touches, or refuse it by name."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from introbench.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """The parts of a decoder-only language model.

    Attributes:
        decoder: The stack without the unembedding; it maps tokens to normed hidden states.
        layers: The decoder blocks; the output of each is the residual stream.
        final_norm: The norm between the last block and the unembedding.
        unembedding: The linear map from the residual stream to logits.
    """

    decoder: nn.Module
    layers: tuple[nn.Module, ...]
    final_norm: nn.Module
    unembedding: nn.Module


def find_parts(model: PreTrainedModel) -> Architecture:
    """Locate blocks, final norm and unembedding by their role, not by one architecture's names.

    Raises:
        InputError: The model keeps no KV cache, or its parts cannot be told for certain.
    """
    kind = model.config.model_type
    if getattr(model, "_is_stateful", False):
        raise InputError(
            f"model type {kind}: keeps a recurrent state; expected a KV cache to inject through; choose another model"
        )
    config = model.config.get_text_config()
    n_layers = getattr(config, "num_hidden_layers", 0)
    decoder = model.get_decoder()
    stacks = [child for child in decoder.children() if isinstance(child, nn.ModuleList) and len(child) == n_layers]
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
    return Architecture(decoder=decoder, layers=tuple(stacks[0]), final_norm=norms[-1], unembedding=unembedding)
