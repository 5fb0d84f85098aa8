"""Models with random weights in the shapes of well-known ones: as fast, and as large, as the real ones."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config


@dataclass(frozen=True)
class Shape:
    """The shape of a Qwen2.5 model.

    Attributes:
        layers: Number of blocks.
        hidden: Width of the residual stream.
        inner: Width inside a block.
        heads: Number of heads of queries.
        key_heads: Number of heads of keys and values.
        vocabulary: Number of tokens.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    vocabulary: int


SHAPES = {
    "tiny": Shape(4, 64, 160, 4, 2, 50_000),
    "0.5B": Shape(24, 896, 4864, 14, 2, 151_936),
    "7B": Shape(28, 3584, 18_944, 28, 4, 152_064),
    "32B": Shape(64, 5120, 27_648, 40, 8, 152_064),
}
"""By size; the tiny one is for tests."""


def random_model(
    shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> PreTrainedModel:
    """A model of a shape, in evaluation mode, made on the device in its dtype."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=32_768,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(before)
    return model.eval().requires_grad_(False)
