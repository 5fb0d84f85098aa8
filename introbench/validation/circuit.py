"""Write the weights of a small Llama by hand: named parts of the residual stream, attention heads and neurons.

A large constant component keeps the norm of the residual stream nearly constant, so that the output of an RMSNorm is
nearly linear in its input. The score of each attention head uses one dimension whose rotary encoding hardly turns, so
that positions play no role. Two gated neurons multiply exactly: silu(a) b + silu(-a) (-b) = a b.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

HIDDEN = 256
"""Size of the residual stream."""
HEADS = 4
HEAD_SIZE = HIDDEN // HEADS
NEURONS = 384
CONSTANT = 256.0
"""The constant component; much larger than all other components together."""
SCALE = HIDDEN**0.5 / CONSTANT
"""The factor by which an RMSNorm multiplies the residual stream."""
SLOW = 1e12
"""Base of the rotary encoding, so large that the slowest pair of dimensions does not turn within any context."""
ATTENDED = 25.0
"""Difference in score, in nats, at which the tokens with the lower score get no attention."""

Reading = Tensor
"""Weights of a linear reading of the residual stream, [hidden]."""


class Circuit:
    """A Llama whose blocks do nothing until heads and neurons are added.

    Args:
        vocabulary: Number of tokens.
        blocks: Number of decoder blocks.
        parts: Names and sizes of the parts of the residual stream; the part `constant` is added.

    Attributes:
        model: The model.

    Raises:
        ValueError: The parts have more dimensions than the residual stream.
    """

    def __init__(self, vocabulary: int, blocks: int, parts: Mapping[str, int]) -> None:
        self._places: dict[str, slice] = {"constant": slice(0, 1)}
        begin = 1
        for name, size in parts.items():
            self._places[name] = slice(begin, begin + size)
            begin += size
        if begin > HIDDEN:
            raise ValueError(f"parts of {begin} dimensions: expected at most {HIDDEN}")
        self._neurons = [0] * blocks
        self._heads = [0] * blocks
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=NEURONS,
            num_hidden_layers=blocks,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=8192,
            rms_norm_eps=1e-12,
            rope_parameters={"rope_type": "default", "rope_theta": SLOW},
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.model = LlamaForCausalLM(config).requires_grad_(False).eval()
        for name, weight in self.model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        self.model.model.embed_tokens.weight[:, 0] = CONSTANT

    def read(self, part: str, index: int = 0, weight: float = 1.0) -> Reading:
        """A reading of one component of a part, multiplied by a weight."""
        reading = torch.zeros(HIDDEN)
        reading[self._places[part].start + index] = weight
        return reading

    def along(self, part: str, direction: Tensor) -> Reading:
        """A reading of the projection of a part onto a direction, [size of the part]."""
        reading = torch.zeros(HIDDEN)
        reading[self._places[part]] = direction
        return reading

    def always(self, value: float) -> Reading:
        """A reading that always has the same value."""
        return self.read("constant", weight=value / CONSTANT)

    def embed(self, token: int, added: Tensor) -> None:
        """Add to the embedding of a token, [hidden]."""
        self.model.model.embed_tokens.weight[token] += added

    def attend(self, block: int, score: Reading, copies: Sequence[tuple[Reading, Tensor]]) -> None:
        """Add a head with which every token averages over those tokens up to itself that have the highest score.

        Args:
            block: The block.
            score: The reading that gives a token's score, in nats.
            copies: Readings of the attended tokens, each with the direction along which its mean is written, [hidden].
        """
        attention = self.model.model.layers[block].self_attn
        head, self._heads[block] = self._heads[block], self._heads[block] + 1
        begin = head * HEAD_SIZE
        slowest = begin + HEAD_SIZE // 2 - 1
        attention.q_proj.weight[slowest] = self.always(1.0) / SCALE
        attention.k_proj.weight[slowest] = score / SCALE * HEAD_SIZE**0.5
        for number, (reading, output) in enumerate(copies):
            attention.v_proj.weight[begin + number] = reading / SCALE
            attention.o_proj.weight[:, begin + number] = output

    def multiply(self, block: int, a: Reading, b: Reading, output: Tensor) -> None:
        """Write the product of two readings along a direction [hidden] at every token."""
        for sign in (1.0, -1.0):
            self._neuron(block, sign * a, sign * b, output)

    def exceed(self, block: int, reading: Reading, threshold: float, output: Tensor) -> None:
        """Write how far a reading exceeds a threshold along a direction [hidden] at every token; nothing below it."""
        self._neuron(block, reading - self.always(threshold), self.always(1.0), output)

    def _neuron(self, block: int, gate: Reading, up: Reading, output: Tensor) -> None:
        mlp = self.model.model.layers[block].mlp
        neuron, self._neurons[block] = self._neurons[block], self._neurons[block] + 1
        mlp.gate_proj.weight[neuron] = gate / SCALE
        mlp.up_proj.weight[neuron] = up / SCALE
        mlp.down_proj.weight[:, neuron] = output

    def say(self, token: int, reading: Reading) -> None:
        """Set a token's logit to a reading of the last block's output."""
        self.model.lm_head.weight[token] = reading / SCALE
