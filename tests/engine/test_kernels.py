"""Kernels: which ones are tried, and that linear maps by oneDNN give the same numbers."""

import platform

import pytest
import torch

from introbench.engine.kernels import Kernels, candidates, onednn_products

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


def test_the_last_kernels_to_try_are_public_operators() -> None:
    for device in ("cpu", "cuda"):
        for dtype in (torch.float32, torch.bfloat16):
            kernels = candidates(torch.device(device), dtype)
            assert kernels[-1] == Kernels(fused_attention=False, onednn=False)
            has_onednn = device == "cpu" and dtype == torch.float32 and IS_X86 and torch.backends.mkldnn.is_available()
            assert kernels[0].onednn == has_onednn


def test_kernels_are_named() -> None:
    assert str(Kernels(True, True)) == "fused attention, oneDNN products"
    assert str(Kernels(True, False)) == "fused attention"
    assert str(Kernels(False, False)) == "attention in plain steps"


@pytest.mark.skipif(not (IS_X86 and torch.backends.mkldnn.is_available()), reason="oneDNN is used on x86 alone")
def test_only_float32_linear_maps_go_through_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    product = torch.ops.mkldnn._linear_pointwise

    def counted(values: torch.Tensor, *rest: object) -> torch.Tensor:
        calls.append(tuple(values.shape))
        return product(values, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    values, linear = torch.randn(3, 5), torch.nn.Linear(5, 7)
    with torch.inference_mode():
        expected = linear(values)
        with onednn_products(True):
            torch.testing.assert_close(linear(values), expected)
            assert torch.equal(linear.double()(values.double()), linear(values.double()))
        assert calls == [(3, 5)]
        with onednn_products(False):
            linear.float()(values)
        linear(values)
    assert calls == [(3, 5)]
