"""Products of linear maps: each kind gives the same numbers, also after weights change; the fastest is taken."""

from collections.abc import Sequence

import pytest
import torch

from introbench.engine import TransformersEngine, products
from introbench.engine.products import (
    BLAS,
    ONEDNN,
    PACKED,
    TRANSPOSED,
    LinearMaps,
    available,
    by_speed,
    can_multiply,
    ranking,
)
from introbench.validation.tiny_models import tiny_model

CPU = torch.device("cpu")
KINDS = available(CPU, torch.float32)
several_kinds = pytest.mark.skipif(len(KINDS) < 4, reason="oneDNN is used on x86 CPUs alone")


def test_kinds_are_for_float32_on_cpus() -> None:
    assert available(torch.device("cuda"), torch.float32) == available(CPU, torch.bfloat16) == [BLAS]


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_every_kind_multiplies_by_the_weights_as_they_are_now(kind: str) -> None:
    with torch.inference_mode(False):
        linear, other = torch.nn.Linear(5, 7).requires_grad_(False), torch.nn.Linear(5, 7, bias=False)
    states, maps = torch.randn(2, 3, 5), LinearMaps(kind, [linear])
    for change in (lambda: None, lambda: linear.weight.mul_(2), lambda: setattr(linear, "weight", other.weight)):
        with torch.inference_mode(False):
            change()
        expected = linear(states), other(states), linear.double()(states.double())
        linear.float()
        with maps:
            found = linear(states), other(states), linear.double()(states.double())
        linear.float()
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_weights_made_in_inference_mode_are_used_as_they_are(kind: str) -> None:
    """Nothing tells whether they have changed."""
    linear, states = torch.nn.Linear(5, 7), torch.randn(2, 5)
    maps = LinearMaps(kind, [linear])
    for _ in range(2):
        with maps:
            found = linear(states)
        torch.testing.assert_close(found, linear(states))
        linear.weight.mul_(2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_whose_values_are_replaced_is_copied_anew(kind: str) -> None:
    """Whatever comes to lie where the old values lay."""
    linear, states = torch.nn.Linear(5, 7, bias=False).requires_grad_(False), torch.randn(2, 5)
    maps = LinearMaps(kind, [linear])
    for _ in range(20):
        with maps:
            found = linear(states)
        torch.testing.assert_close(found, states @ linear.weight.T)
        linear.weight.data = torch.randn(7, 5)


@several_kinds
@torch.inference_mode()
def test_only_float32_linear_maps_go_through_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.Tensor] = []
    product = torch.ops.mkldnn._linear_pointwise

    def noted(values: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        calls.append(weight)
        return product(values, weight, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", noted)
    with torch.inference_mode(False):
        values, linear, other = torch.randn(3, 5), torch.nn.Linear(5, 7), torch.nn.Linear(5, 7)
    for kind, packed in ((ONEDNN, False), (PACKED, True)):
        calls.clear()
        with LinearMaps(kind, [linear]):
            for module in (linear, linear, other):
                module(values)
            torch.nn.functional.linear(values.double(), linear.weight.double())
        assert [weight.is_mkldnn for weight in calls] == [packed, packed, False]
        assert calls[0] is calls[1]
        assert calls[2] is other.weight
    for kind in (BLAS, TRANSPOSED):
        with LinearMaps(kind, [linear]):
            linear(values)
    assert len(calls) == 3


def test_whether_the_cpu_multiplies_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise RuntimeError("needs avx512")

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert can_multiply(torch.float32)
    assert not can_multiply(torch.bfloat16)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda left, *_: left)
    assert can_multiply(torch.bfloat16)


def rank(asked: str | None = None, most_bytes: int = 10**9, small: float = 0) -> Sequence[str]:
    """The order in which kinds of products are tried on one linear map, with a measurement that is given."""
    blocks = [torch.nn.Linear(4, 4)]
    speeds = {ONEDNN: 1e9, PACKED: 1.2e9, BLAS: 0.5e9, TRANSPOSED: 2e9}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_SMALL", small)
        patch.setattr(products, "measured_speeds", lambda names, _: {name: speeds[name] for name in names})
        ranked = ranking(CPU, torch.float32, blocks, most_bytes, asked)
    return [*ranked.products, ranked.note]


@several_kinds
def test_the_fastest_products_that_fit_come_first() -> None:
    note = (
        "blas-transposed: 2 GFLOP/s on this model's shapes; of that speed, onednn-packed 0.60, onednn 0.50, blas 0.25"
    )
    assert rank() == [TRANSPOSED, PACKED, ONEDNN, BLAS, note]
    assert rank(most_bytes=8)[:-1] == [ONEDNN, BLAS]
    assert rank(small=17) == [ONEDNN, BLAS, "onednn (not measured: the model is small)"]


@several_kinds
def test_products_that_are_asked_for_are_not_measured() -> None:
    assert rank(asked=TRANSPOSED) == [TRANSPOSED, BLAS, "blas-transposed, as asked"]
    on_gpu = ranking(torch.device("cuda"), torch.float32, [], 0, ONEDNN)
    assert (on_gpu.products, on_gpu.note) == ([BLAS], "blas (onednn is for float32 on x86 CPUs)")
    for kind in KINDS:
        notes = TransformersEngine(tiny_model("llama"), products=kind).notes
        assert notes["path"].startswith("fast: ")
        assert notes["path"].endswith(products.PRODUCTS[kind] if kind != BLAS else "fused attention")
        assert notes["products"] == f"{kind}, as asked"


def test_a_little_faster_than_onednn_is_not_enough() -> None:
    assert by_speed({PACKED: 1.04, ONEDNN: 1.0, BLAS: 1.02}) == [ONEDNN, PACKED, BLAS]
    assert by_speed({PACKED: 1.06, ONEDNN: 1.0, BLAS: 1.02}) == [PACKED, BLAS, ONEDNN]


@several_kinds
def test_a_kind_that_fails_is_left_out_of_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such layout")

    monkeypatch.setattr(products, "_FLOPS_OF_A_ROUND", 1)
    monkeypatch.setitem(products._COPYING, PACKED, refuse)
    before = torch.random.get_rng_state()
    speeds = products.measured_speeds((ONEDNN, PACKED, BLAS), ((5, 3), (3, 5), (3, 5)))
    assert set(speeds) == {ONEDNN, BLAS}
    assert all(speed > 0 for speed in speeds.values())
    assert torch.equal(torch.random.get_rng_state(), before), "a measurement must not change what is drawn later"
