"""The reference of a model on a vLLM server: steered by the server's own plugin, and its own log-probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor

from introbench.checks.reference import Additions, Reference, TransformersReference
from introbench.engine import Engine, Weights
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.engine import VllmEngine
from introbench.engine.vllm.request import ServerRequest, own_steering
from introbench.engine.vllm.server import TOKENS_IN_A_PASS


class ServerReference:
    """Sends conversations one by one; neither the engine's hook nor its readout has a part in the numbers.

    Args:
        client: The server.
        vocabulary: Number of the model's tokens.
    """

    def __init__(self, client: ServerClient, vocabulary: int) -> None:
        self._client = client
        self._vocabulary = vocabulary

    def logprobs(self, tokens: Sequence[int], prior: int, added: Additions, filler: Weights | None = None) -> Tensor:
        """Log-probabilities of the next token, float32 [vocabulary]; NaN for tokens that the server does not name.

        Args:
            tokens: The whole conversation.
            prior: Not used: the shares say which tokens are steered.
            added: What is added, and to which tokens.
            filler: None: a server has one set of weights.
        """
        if filler is not None:
            raise ValueError("other weights that fill the cache: a server has one set of weights")
        return self._logprobs(tokens, added, in_parts=False)

    def _logprobs(self, tokens: Sequence[int], added: Additions, in_parts: bool) -> Tensor:
        vectors = {block: vector[None] for block, vector in added.vectors.items() if vector.any()}
        request = ServerRequest(tuple(tokens), vectors, added.shares[None], {})
        logprobs = torch.full((self._vocabulary,), torch.nan)
        steering = own_steering(request, in_parts) if vectors else {}
        for token, logprob in self._client.logprobs(request.tokens, steering).items():
            logprobs[token] = logprob
        return logprobs

    def rounding(self, tokens: Sequence[int], prior: int, added: Additions) -> Tensor | None:
        """With every vector added in two parts; None where nothing is added."""
        return self._logprobs(tokens, added, in_parts=True) if added.vectors else None


def reference_of(engine: Engine) -> Reference:
    """What an engine's numbers are compared with."""
    if isinstance(engine, VllmEngine):
        return ServerReference(engine.client, int(engine.model.config.get_text_config().vocab_size))
    return TransformersReference(engine.weights)


def longest_for_reference(engine: Engine) -> int | None:
    """Most tokens of a conversation that the reference can steer, None for any number.

    vllm-lens takes each piece of a longer one for the first.
    """
    return TOKENS_IN_A_PASS if isinstance(engine, VllmEngine) else None
