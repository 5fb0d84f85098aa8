"""Weights that are NaN or infinite, found when they load: everything that is computed with them would be as useless."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench.engine.architecture import find_parts


def dense_tensors(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name; those that are made of other tensors (as by torchao's quantisation) are taken apart."""
    for name, tensor in named:
        if hasattr(tensor, "__tensor_flatten__"):
            parts, _ = tensor.__tensor_flatten__()
            yield from dense_tensors((f"{name}.{part}", getattr(tensor, part)) for part in parts)
        else:
            yield name, tensor


def broken_part(model: PreTrainedModel) -> str:
    """Which part of a language model has weights that are not finite: `block 3` and the weight's name there.

    Parts that no text goes through, such as an encoder of pictures, are not looked at.

    Returns:
        The first such part, from the embeddings on; empty if there is none.
    """
    parts = find_parts(model)
    named: list[tuple[str, nn.Module]] = [
        ("the embeddings", parts.embeddings),
        *((f"block {number}", block) for number, block in enumerate(parts.layers)),
        ("the final norm", parts.final_norm),
        ("the unembedding", parts.unembedding),
    ]
    for part, module in named:
        if broken := broken_tensor(module.state_dict().items()):
            return f"{part} ({broken})"
    return ""


def broken_tensor(named: Iterable[tuple[str, Tensor]]) -> str:
    """The name of the first tensor with values that are not finite; empty if there is none."""
    return next((name for name, tensor in dense_tensors(named) if not _is_finite(tensor)), "")


def _is_finite(tensor: Tensor) -> bool:
    # Numbers of one byte are codes of a quantisation; offloaded weights are on "meta" and have no values here.
    if not tensor.is_floating_point() or tensor.dtype.itemsize < 2 or tensor.device.type == "meta":
        return True
    # A sum is quickly made and takes no memory. It may be infinite where no value is.
    return bool(tensor.sum().isfinite()) or bool(torch.isfinite(tensor).all())
