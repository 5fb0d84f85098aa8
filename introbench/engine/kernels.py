"""Faster kernels for the same float32 arithmetic: private to torch, so the engine proves them on each model."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Kernels:
    """The kernels that the fast path uses.

    Attributes:
        fused_attention: The device's fused attention, which also returns the log-sum-exp.
        onednn: oneDNN's float32 products in linear maps, in place of MKL's, which on some x86 CPUs are half as fast.
    """

    fused_attention: bool
    onednn: bool

    def __str__(self) -> str:
        attention = "fused attention" if self.fused_attention else "attention in plain steps"
        return f"{attention}, oneDNN products" if self.onednn else attention


def candidates(device: torch.device, dtype: torch.dtype) -> list[Kernels]:
    """The kernels to try on a device, the fastest first; the last ones are public operators only."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    has_onednn = device.type == "cpu" and dtype == torch.float32 and x86 and torch.backends.mkldnn.is_available()
    return [*([Kernels(True, True)] if has_onednn else []), Kernels(True, False), Kernels(False, False)]


@contextmanager
def onednn_products(enabled: bool) -> Iterator[None]:
    """Let linear maps be computed by oneDNN while the context is open."""
    if not enabled:
        yield
        return
    with _OneDNN():
        yield


class _OneDNN(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.linear and not kwargs and all(map(_is_dense_float32, args[:2])):
            bias: Tensor | None = args[2] if len(args) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _is_dense_float32(tensor: Any) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
    )
