"""The reference: what a transformers model answers under an injection, without a batch, a cache or the engine.

Self-checks compare the engine with it, so it is written to be read rather than to be fast, and shares nothing with the
engine but the knowledge of which modules are the model's blocks.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from introbench.engine.weights import Weights


@dataclass(frozen=True, eq=False)
class Additions:
    """What is added to the residual stream of one conversation.

    Attributes:
        vectors: Block index to the vector that is added to the block's output, float32 [hidden].
        shares: The share of the vector that each token gets, float32 [tokens]; 0 for tokens that get nothing.
    """

    vectors: Mapping[int, Tensor]
    shares: Tensor


class Reference(Protocol):
    """Gives the log-probabilities that a conversation must have."""

    def logprobs(self, tokens: Sequence[int], prior: int, added: Additions, filler: Weights | None = None) -> Tensor:
        """Log-probabilities of the next token, float32 [vocabulary] on the CPU; NaN where they are not known."""
        ...

    def rounding(self, tokens: Sequence[int], prior: int, added: Additions) -> Tensor | None:
        """The same, computed in another way, which rounds otherwise; None if there is no other way."""
        ...


class TransformersReference:
    """The reference of a model in this process.

    Args:
        weights: The model that answers.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def logprobs(self, tokens: Sequence[int], prior: int, added: Additions, filler: Weights | None = None) -> Tensor:
        """Log-probabilities of the next token; see `reference_logprobs`."""
        return reference_logprobs(self._weights, tokens, prior, added, filler)

    def rounding(self, tokens: Sequence[int], prior: int, added: Additions) -> Tensor:
        """In two passes, with transformers' own cache, which is as right as in one pass."""
        return reference_logprobs(self._weights, tokens, prior, added, filler=self._weights)


@torch.inference_mode()
def reference_logprobs(
    weights: Weights, tokens: Sequence[int], prior: int, added: Additions, filler: Weights | None = None
) -> Tensor:
    """Log-probabilities of the next token, from the model's own logits, float32 [vocabulary] on the CPU.

    Args:
        weights: The model that answers.
        tokens: The whole conversation.
        prior: How many of its tokens are the prior turn.
        added: What is added, and to which tokens.
        filler: Weights that read the prior turn; None for those that answer. Two sets of weights cannot read one text
            in one pass, so with a filler there are two passes, the second over the cache that the first has filled.
    """
    ids = torch.tensor([list(tokens)], device=weights.parts.device)
    positions = torch.arange(len(tokens), device=ids.device)[None]
    if filler is None:
        with weights.switched(), adding(weights.parts.layers, added.vectors, added.shares):
            logits = weights.model(ids, position_ids=positions, use_cache=False, **_last_logits(weights)).logits
    else:
        cache = DynamicCache()
        with filler.switched(), adding(filler.parts.layers, added.vectors, added.shares[:prior]):
            filler.model(ids[:, :prior].to(filler.parts.device), past_key_values=cache, use_cache=True)
        with weights.switched(), adding(weights.parts.layers, added.vectors, added.shares[prior:]):
            logits = weights.model(
                ids[:, prior:], position_ids=positions[:, prior:], past_key_values=cache, use_cache=True
            ).logits
    return torch.log_softmax(logits[0, -1].float(), dim=-1).cpu()


@contextmanager
def adding(layers: Sequence[nn.Module], vectors: Mapping[int, Tensor], shares: Tensor) -> Iterator[None]:
    """Add a share of a vector to each position of some blocks' outputs while the context is open."""

    def hook(vector: Tensor) -> Any:
        def add(_module: nn.Module, _args: Any, output: Any) -> Any:
            residual = output[0] if isinstance(output, tuple) else output
            added = (shares[:, None] * vector).to(residual.device)
            steered = (residual.float() + added).to(residual.dtype)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return add

    with ExitStack() as stack:
        for block, vector in vectors.items():
            stack.callback(layers[block].register_forward_hook(hook(vector)).remove)
        yield


def _last_logits(weights: Weights) -> dict[str, int]:
    """The argument that limits logits to the last position, for models that take it; others need more memory."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(weights.model.forward).parameters else {}
