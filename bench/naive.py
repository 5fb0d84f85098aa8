"""The naive schedule: every conversation and arm in a pass of its own, and the sham again for every vector."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms, Request
from introbench.engine.architecture import Architecture
from introbench.engine.hooks import steering


@torch.inference_mode()
def one_arm(
    model: PreTrainedModel, parts: Architecture, request: Request, arms: Arms, row: int, last_only: bool
) -> Tensor:
    """Log-probabilities after one conversation under one arm: a single uncached pass at batch size 1.

    Args:
        model: The model.
        parts: Its blocks.
        request: The conversation.
        arms: The arms.
        row: The arm to run.
        last_only: Whether only the last position meets the unembedding.
    """
    deltas = {block: delta[row : row + 1] for block, delta in arms.deltas.items()}
    ids = torch.tensor([request.tokens], device=parts.device)
    with steering(parts.layers, deltas, slice(0, request.prior)):
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=1 if last_only else 0).logits[:, -1]
    return torch.log_softmax(logits.float(), dim=-1)


def passes(requests: int, rows: int) -> int:
    """Number of passes that a run takes: two for every vector and conversation, one for each without a vector."""
    return requests * max(1, 2 * (rows - 1))
