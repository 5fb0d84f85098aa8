"""Faster kernels for the same arithmetic: private to torch, so the engine proves them on each model."""

from collections.abc import Sequence
from dataclasses import dataclass

from introbench.engine.products import BLAS, PRODUCTS


@dataclass(frozen=True)
class Kernels:
    """The kernels that the fast path uses.

    Attributes:
        fused_attention: The device's fused attention, which also returns the log-sum-exp.
        products: The kind of products in linear maps, a key of `products.PRODUCTS`.
    """

    fused_attention: bool
    products: str = BLAS

    def __str__(self) -> str:
        attention = "fused attention" if self.fused_attention else "attention in plain steps"
        return attention if self.products == BLAS else f"{attention}, {PRODUCTS[self.products]}"


def candidates(products: Sequence[str]) -> list[Kernels]:
    """The kernels to try, the fastest first; the last ones are public operators only.

    Args:
        products: The kinds of products to try, the fastest first.
    """
    fused = [Kernels(True, name) for name in dict.fromkeys([*products, BLAS])]
    return [*fused, Kernels(False)]
