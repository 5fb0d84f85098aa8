"""Write the weights of a small Llama by hand: named parts of the residual stream, attention heads and neurons.

A large constant component keeps the norm of the residual stream nearly the same everywhere, so that what follows an
RMSNorm is a linear reading. One slowly rotating dimension of each head carries its score, so that positions play no
role. Two neurons of a gated unit multiply exactly: silu(a) b + silu(-a) (-b) = a b.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

HIDDEN = 256
HEADS = 4
HEAD_SIZE = HIDDEN // HEADS
NEURONS = 384
CONSTANT = 256.0
"""The constant component, much larger than all others together."""
SCALE = HIDDEN**0.5 / CONSTANT
"""What an RMSNorm multiplies the residual stream with."""
SLOW = 1e12
"""Base of the rotary encoding: the slowest pair of dimensions does not turn in any context."""
ATTENDED = 25.0
"""Difference in score that leaves nothing to what is not attended to."""

Reading = Tensor
"""A linear reading of the residual stream, [hidden]."""


class Circuit:
    """A Llama of which nothing is written yet: every block passes its input on.

    Args:
        vocabulary: Number of tokens.
        blocks: Number of decoder blocks.
        parts: Names and sizes of the parts of the residual stream; `constant` is added.
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
        """One component, multiplied."""
        reading = torch.zeros(HIDDEN)
        reading[self._places[part].start + index] = weight
        return reading

    def along(self, part: str, direction: Tensor) -> Reading:
        """The projection of a part onto a direction."""
        reading = torch.zeros(HIDDEN)
        reading[self._places[part]] = direction
        return reading

    def always(self, value: float) -> Reading:
        """A number that does not depend on anything."""
        return self.read("constant", weight=value / CONSTANT)

    def embed(self, token: int, brought: Tensor) -> None:
        """Let a token bring something into the residual stream, [hidden]."""
        self.model.model.embed_tokens.weight[token] += brought

    def attend(self, block: int, score: Reading, copies: Sequence[tuple[Reading, Tensor]]) -> None:
        """One head: every token averages over the earlier tokens with the highest score, itself included.

        Args:
            block: In which block.
            score: What a token is attended to for, in nats.
            copies: What is read of those tokens, and where the average of it is written, [hidden].
        """
        attention = self.model.model.layers[block].self_attn
        head, self._heads[block] = self._heads[block], self._heads[block] + 1
        begin = head * HEAD_SIZE
        slowest = begin + HEAD_SIZE // 2 - 1
        attention.q_proj.weight[slowest] = self.always(1.0) / SCALE
        attention.k_proj.weight[slowest] = score / SCALE * HEAD_SIZE**0.5
        for number, (reading, place) in enumerate(copies):
            attention.v_proj.weight[begin + number] = reading / SCALE
            attention.o_proj.weight[:, begin + number] = place

    def multiply(self, block: int, one: Reading, other: Reading, place: Tensor) -> None:
        """Add the product of two readings at every token."""
        for sign in (1.0, -1.0):
            self._neuron(block, sign * one, sign * other, place)

    def exceed(self, block: int, reading: Reading, threshold: float, place: Tensor) -> None:
        """Add by how much a reading exceeds a threshold at every token; nothing below it."""
        self._neuron(block, reading - self.always(threshold), self.always(1.0), place)

    def _neuron(self, block: int, gate: Reading, up: Reading, place: Tensor) -> None:
        mlp = self.model.model.layers[block].mlp
        neuron, self._neurons[block] = self._neurons[block], self._neurons[block] + 1
        mlp.gate_proj.weight[neuron] = gate / SCALE
        mlp.up_proj.weight[neuron] = up / SCALE
        mlp.down_proj.weight[:, neuron] = place

    def say(self, token: int, reading: Reading) -> None:
        """Let a token's logit be a reading of the last residual."""
        self.model.lm_head.weight[token] = reading / SCALE
