"""Kernels: which ones are tried, and what they are called."""

from introbench.engine.kernels import Kernels, candidates


def test_the_last_kernels_to_try_are_public_operators() -> None:
    tried = candidates(["onednn-packed", "onednn"])
    assert tried[:2] == [Kernels(True, "onednn-packed"), Kernels(True, "onednn")]
    assert tried[2:] == [Kernels(fused_attention=True), Kernels(fused_attention=False)]
    assert candidates(["blas"]) == tried[2:]


def test_kernels_are_named() -> None:
    assert str(Kernels(True, "onednn")) == "fused attention, oneDNN products"
    assert str(Kernels(True)) == "fused attention"
    assert str(Kernels(False)) == "attention in plain steps"
