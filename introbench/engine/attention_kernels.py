"""Kernels of attention over one set of keys that also return the log-sum-exp, and how two sets are merged exactly."""

from collections.abc import Callable

import torch
from torch import Tensor

_SCORES_BYTES = 64 * 1024**2

AttentionKernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], tuple[Tensor, Tensor]]
"""(queries, keys, values, additive mask or None, scale) to (outputs, float32 log-sum-exp)."""


def kernel_for(query: Tensor, value: Tensor, softcap: float | None, *, fused: bool) -> AttentionKernel:
    """The kernel that computes attention over one set of keys: the device's fused one where it can be used."""
    known = _FUSED.get(query.device.type) if fused else None
    if known is None or softcap is not None or value.shape[-1] != query.shape[-1]:
        return lambda q, k, v, mask, scale: step_by_step(q, k, v, mask, scale, softcap)
    return known


def merged(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Attention over two sets of keys, from the outputs [..., size] and log-sum-exps [...] over each."""
    (output, lse), (other, other_lse) = first, second
    share = torch.sigmoid(other_lse - lse).to(output.dtype)
    return torch.lerp(output, other, share[..., None]), torch.logaddexp(lse, other_lse)


def with_sinks(output: Tensor, lse: Tensor, sinks: Tensor) -> Tensor:
    """Attention in which scores per head take part in the softmax without a value; `sinks` broadcasts with `lse`."""
    return output * torch.sigmoid(lse - sinks.float())[..., None].to(output.dtype)


def step_by_step(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Attention and its log-sum-exp by public operators, a few rows at a time.

    Args:
        query: [rows, heads, queries, head size].
        key: [rows, heads, keys, head size].
        value: [rows, heads, keys, head size of the values].
        mask: Added to the scores, [queries, keys], or None.
        scale: Multiplies the scores.
        softcap: Bound that scores approach by a tanh; None for none.

    Returns:
        Outputs [rows, heads, queries, head size of the values] and float32 log-sum-exp [rows, heads, queries].
    """
    outputs, sums = [], []
    row_bytes = 4 * query.shape[1] * query.shape[2] * key.shape[2]
    rows = max(1, _SCORES_BYTES // row_bytes)
    for q, k, v in zip(query.split(rows), key.split(rows), value.split(rows), strict=True):
        scores = torch.matmul(q, k.transpose(-1, -2)).float() * scale
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        if mask is not None:
            scores = scores + mask
        lse = scores.logsumexp(dim=-1)
        outputs.append(torch.matmul((scores - lse[..., None]).exp().to(v.dtype), v))
        sums.append(lse)
    return torch.cat(outputs), torch.cat(sums)


def _fused_on_cpu(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=mask, scale=scale
    )
    return output, lse


def _fused_on_cuda(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    if mask is not None or query.dtype == torch.float32:
        bias = None if mask is None else mask.expand(*query.shape[:2], -1, -1)
        output, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, True, scale=scale
        )
        return output, lse[..., : query.shape[2]]
    output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)
    return output, lse


_FUSED: dict[str, AttentionKernel] = {"cpu": _fused_on_cpu, "cuda": _fused_on_cuda}
"""Kernels that return the log-sum-exp. They are private to torch, so the engine proves them on each model."""
