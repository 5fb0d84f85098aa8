"""What runs inside of a vLLM server, for one request, after each block that is steered or read.

A client sends this file's text with every request (`introbench.engine.vllm.request`), so it imports PyTorch alone. The
server calls `hook` once for each piece of the request's tokens and each block. vllm-lens gives no positions, so the
hook counts the tokens itself, and reports what it counted: a hook that raised or was left out is noticed by that.
"""

from typing import Any

import torch
from torch import Tensor


def make_hook(length: int, additions: dict[int, Tensor], shares: Tensor, read: dict[int, list[int]]) -> Any:
    """The hook of one request.

    Args:
        length: Number of the request's tokens.
        additions: Block index to what is added to the block's output, float32 [terms, hidden].
        shares: The share of each term that a token gets, float32 [terms, tokens].
        read: Block index to the positions whose residual stream is kept.
    """

    def hook(context: Any, residual: Tensor) -> Tensor | None:
        """Add to the tokens of one piece, and keep what is to be read of it.

        Args:
            context: Of vllm-lens: the block's index, and what is kept of the request.
            residual: The block's output at the piece's tokens, [tokens, hidden].
        """
        try:
            return run(context, residual)
        except Exception as error:  # vllm-lens would take the steering of all other requests in the pass away with it
            context.saved["error"] = f"{type(error).__name__}: {error}"
            return None

    def run(context: Any, residual: Tensor) -> Tensor | None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        block, saved = context.layer_idx, context.saved
        begin, size = saved.get(f"seen {block} {rank}", 0), residual.shape[0]
        end = min(begin + size, length)
        steered = None
        if block in additions and begin < end:
            piece = shares[:, begin:end].to(residual.device)
            added = piece.T @ additions[block].to(residual.device)
            steered = residual.clone()
            steered[: end - begin] = (residual[: end - begin].float() + added).to(residual.dtype)
            count = saved.get(f"steered {block} {rank}", 0)
            saved[f"steered {block} {rank}"] = count + int(piece.any(dim=0).sum())
        for position in read.get(block, ()):
            if begin <= position < end:
                state = (residual if steered is None else steered)[position - begin]
                # A copy: of a view, all that it is a view of would be sent.
                saved[f"state {block} {position}"] = state.float().cpu().clone()
        if begin < length < begin + size:  # no piece ends beyond the last token, unless an earlier one was run twice
            saved["error"] = f"a piece of tokens {begin}:{begin + size} of {length}"
        saved["dtype"] = str(residual.dtype).removeprefix("torch.")
        if begin:
            saved["is cut"] = True
        saved[f"seen {block} {rank}"] = begin + size
        return steered

    return hook
