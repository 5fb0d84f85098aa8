"""From the residual stream at one position to log-probabilities, in float32 whatever the model's dtype is.

In bfloat16 a model's own logits are rounded to steps of 0.125 above 16, which hides small shifts. Here the last
residual goes through a float32 copy of the final norm and a float32 product with the unembedding.
"""

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench.engine.architecture import Architecture

_CHUNK = 16_384
"""Rows of the unembedding that are held in float32 at a time."""


class Readout:
    """The final norm and unembedding of one model, in float32.

    Args:
        model: The model; its configuration says how logits are scaled and capped.
        parts: Where its final norm and unembedding are.
    """

    def __init__(self, model: PreTrainedModel, parts: Architecture) -> None:
        config = model.config.get_text_config()
        self._norm = copy.deepcopy(parts.final_norm).float()
        self._unembedding = parts.unembedding
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        # Cohere multiplies its logits by a constant, Granite divides them.
        self._scale: float = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)

    def __call__(self, residual: Tensor) -> Tensor:
        """Log-probabilities of the next token.

        Args:
            residual: Residual stream after the last block, before the final norm, [rows, hidden].

        Returns:
            float32 [rows, vocabulary], on the device of the unembedding.
        """
        hidden = self._norm(residual.float())
        if not isinstance(self._unembedding, nn.Linear):
            raise TypeError(f"unembedding of type {type(self._unembedding).__name__}")
        weight, bias = self._unembedding.weight, self._unembedding.bias
        hidden = hidden.to(weight.device)
        logits = torch.cat([hidden @ part.float().T for part in weight.split(_CHUNK)], dim=-1)
        if bias is not None:
            logits = logits + bias.float()
        logits = logits * self._scale
        if self._softcap is not None:
            logits = torch.tanh(logits / self._softcap) * self._softcap
        return torch.log_softmax(logits, dim=-1)
