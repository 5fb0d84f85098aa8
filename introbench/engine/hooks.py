"""Forward hooks that add to the residual stream or look at it, and that are always taken off again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from introbench.errors import InputError

EVERYWHERE = slice(None)


@contextmanager
def steering(
    layers: Sequence[nn.Module], deltas: Mapping[int, Tensor], positions: slice = EVERYWHERE
) -> Iterator[None]:
    """Add a vector to the output of some decoder blocks while the context is open.

    The sum is taken in float32 and rounded once to the model's dtype, so that a delta of zeros leaves every
    residual exactly as it was.

    Args:
        layers: The decoder blocks.
        deltas: Block index to a tensor [rows, hidden] (one vector per batch row), already scaled.
        positions: Which token positions of the forward pass are steered.
    """

    def hook(delta: Tensor) -> Any:
        def add(_module: nn.Module, _args: Any, output: Any) -> Any:
            residual = _residual(output)
            steered = residual.clone()
            part = steered[:, positions]
            part.copy_(part.float() + delta.to(residual.device, torch.float32)[:, None, :])
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return add

    with ExitStack() as stack:
        for index, delta in deltas.items():
            stack.callback(layers[index].register_forward_hook(hook(delta)).remove)
        yield


@contextmanager
def widening(layer: nn.Module, rows: int) -> Iterator[None]:
    """Let a forward pass of one batch row become `rows` equal rows where it enters `layer`.

    Below the first steered block all arms are the same, so they are computed once.
    """

    def widen(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (args[0].expand(rows, -1, -1), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": kwargs["hidden_states"].expand(rows, -1, -1)}

    handle = layer.register_forward_pre_hook(widen, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def last_residuals(layers: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Collect the residual stream at the last position after every block.

    Yields:
        A dict that the forward passes fill: block index to a float32 tensor [rows, hidden].
    """
    seen: dict[int, Tensor] = {}

    def hook(index: int) -> Any:
        def look(_module: nn.Module, _args: Any, output: Any) -> None:
            seen[index] = _residual(output)[:, -1].float().clone()

        return look

    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            stack.callback(layer.register_forward_hook(hook(index)).remove)
        yield seen


@contextmanager
def last_input(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what `module` is given at the last position: a list that each forward pass extends by [rows, hidden]."""
    seen: list[Tensor] = []

    def look(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0][:, -1].clone())

    handle = module.register_forward_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def _residual(output: Any) -> Tensor:
    residual: Tensor = output[0] if isinstance(output, tuple) else output
    if residual.dim() != 3:
        raise InputError(
            f"a block's output of shape {tuple(residual.shape)}: expected [rows, positions, hidden]; choose another"
        )
    return residual
