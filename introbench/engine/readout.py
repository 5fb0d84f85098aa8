"""Where yes and no are read: from the residual stream to log-probabilities, in float32 whatever the model's dtype is.

In bfloat16 a model's own logits are rounded to steps of 0.125 above 16, which hides small shifts. Here the last
residual goes through a float32 copy of the final norm and a float32 product with the unembedding.
"""

import copy

import torch
from accelerate.hooks import remove_hook_from_module
from accelerate.utils import align_module_device
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench.engine.architecture import Architecture
from introbench.engine.requests import Reading, Want

_CHUNK = 16_384
"""Rows of a half-precision unembedding that are held in float32 at a time."""
LOGITS_BYTES = 256 * 1024**2
"""Most bytes of logits held at a time."""


class Readout:
    """The final norm and unembedding of one model, in float32.

    Weights that a device map keeps elsewhere, on another device or on disk, are fetched while they are used.

    Args:
        model: The model; its configuration says how logits are scaled and capped.
        parts: Where its final norm and unembedding are.
    """

    def __init__(self, model: PreTrainedModel, parts: Architecture) -> None:
        config = model.config.get_text_config()
        hook = getattr(parts.final_norm, "_hf_hook", None)  # of accelerate; it holds all weights that are elsewhere
        with align_module_device(parts.final_norm):
            self._norm = remove_hook_from_module(copy.deepcopy(parts.final_norm, {id(hook): hook})).float()
        self._unembedding = parts.unembedding
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        # Cohere multiplies its logits by a constant, Granite divides them.
        self._scale: float = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)

    @torch.inference_mode()
    def __call__(self, residual: Tensor) -> Tensor:
        """Logits of the next token.

        Args:
            residual: Residual stream after a block, before the final norm, [positions, hidden].

        Returns:
            float32 [positions, vocabulary], on the device of the unembedding.
        """
        weight_of_norm = next(self._norm.parameters(), None)
        hidden = self._norm(residual.float().to(residual.device if weight_of_norm is None else weight_of_norm.device))
        if not isinstance(self._unembedding, nn.Linear):
            raise TypeError(f"unembedding of type {type(self._unembedding).__name__}")
        with align_module_device(self._unembedding):
            weight, bias = self._unembedding.weight, self._unembedding.bias
            hidden = hidden.to(weight.device)
            if weight.dtype == torch.float32:
                logits = nn.functional.linear(hidden, weight)
            else:
                logits = torch.cat([hidden @ part.float().T for part in weight.split(_CHUNK)], dim=-1)
            if bias is not None:
                logits += bias.float()
        if self._scale != 1:
            logits *= self._scale
        if self._softcap is not None:
            logits = torch.tanh(logits / self._softcap) * self._softcap
        return logits


def in_float64(numbers: Tensor) -> Tensor:
    """Numbers in float64, on their device, or on the CPU where the device has no float64, as Apple's has none."""
    try:
        return numbers.double()
    except (TypeError, RuntimeError):
        return numbers.cpu().to(torch.float64)


def summarise(logits: Tensor, want: Want) -> Reading:
    """Reduce the logits of the next token to what is to be read.

    Args:
        logits: float32 [rows, vocabulary].
        want: What to read.
    """
    normaliser = logits.logsumexp(dim=-1, keepdim=True)
    logprobs = logits[:, list(want.tokens)] - normaliser
    best = logits.topk(want.top, dim=-1)
    # An answer of probability 0 has no finite log-odds, so its row is as useless as one with NaN.
    finite = normaliser[:, 0].isfinite() & logprobs.isfinite().all(dim=-1)
    divergence = torch.empty(0)
    if want.divergence:
        distributions = torch.log_softmax(in_float64(logits), dim=-1)
        first = distributions[:1]
        divergence = (first.exp() * (first - distributions)).sum(dim=-1).cpu()
    return Reading(
        logprobs=logprobs.cpu(),
        top_ids=best.indices.cpu(),
        top_logprobs=(best.values - normaliser).cpu(),
        finite=finite.tolist(),
        divergence=divergence,
    )
