"""Budgets, and memory that runs out."""

import os
from typing import Any

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, arms, assert_true, hooks_and_patches, requests_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine
from introbench.engine.attention import AttentionOfPass
from introbench.engine.kernels import Kernels
from introbench.engine.memory import PassSize, default_budget, is_out_of_memory, parse_budget, token_bytes
from introbench.errors import InputError
from introbench.validation.tiny_models import tiny_model


class Exploding:
    """Raises at some calls of the attention, and counts them."""

    def __init__(self, at: set[int], error: Exception) -> None:
        self.calls = 0
        self._at = at
        self._error = error

    def __enter__(self) -> "Exploding":
        self._attend = attend = AttentionOfPass.attend

        def explode(attention: AttentionOfPass, *rest: Any) -> Tensor:
            self.calls += 1
            if self.calls in self._at:
                raise self._error
            return attend(attention, *rest)

        AttentionOfPass.attend = explode  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        AttentionOfPass.attend = self._attend  # type: ignore[method-assign]


exhaustions = given(
    at=st.sets(st.integers(1, 60), max_size=6), rows=st.sampled_from([1, 2, 5]), pass_tokens=st.sampled_from([16, 64])
)
"""Calls of the attention at which memory runs out, number of arms, and tokens in a pass."""


def assert_nothing_is_lost(at: set[int], rows: int, pass_tokens: int) -> None:
    engine = TransformersEngine(tiny_model("llama"))
    engine._path = engine._fast_path(pass_tokens, Kernels(fused_attention=True))
    before = hooks_and_patches(engine.model)
    requests = requests_of(PRIOR * 2, QUESTIONS, arms(rows)) + requests_of(PRIOR, QUESTIONS, arms(rows, seed=4))
    with Exploding(at, torch.OutOfMemoryError("CUDA out of memory")) as explosions:
        try:
            readings = engine.read(requests)
        except torch.OutOfMemoryError:
            assert engine.reductions or pass_tokens == PassSize.smallest, "given up only where nothing can be cut"
            readings = []
    happened = len([call for call in at if call <= explosions.calls])
    if readings:
        assert_true(engine.model, requests, readings)
        assert engine.reductions == happened
    assert hooks_and_patches(engine.model) == before
    assert_true(engine.model, requests, engine.read(requests))


@pytest.mark.parametrize(("at", "rows", "pass_tokens"), [({3}, 5, 64), ({2, 9, 10}, 2, 16), (set(range(1, 40)), 5, 64)])
def test_running_out_of_memory_a_few_times(at: set[int], rows: int, pass_tokens: int) -> None:
    assert_nothing_is_lost(at, rows, pass_tokens)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@exhaustions
def test_running_out_of_memory_cuts_the_batch_and_loses_nothing(at: set[int], rows: int, pass_tokens: int) -> None:
    assert_nothing_is_lost(at, rows, pass_tokens)


def test_arms_are_split_from_the_right_block_though_the_clean_run_has_gone_on(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    engine._path = engine._fast_path(PassSize.smallest, Kernels(fused_attention=True))
    batch = arms(4)
    engine.read(requests_of(PRIOR, QUESTIONS, batch))
    engine.read(requests_of(PRIOR, QUESTIONS, None))  # the clean run now stands at the end; the arms' keys are kept
    again = requests_of(PRIOR, [(20, 21), (22,)], batch)
    with Exploding({3}, torch.OutOfMemoryError("CUDA out of memory")):
        readings = engine.read(again)
    assert engine.reductions == 1
    assert_true(llama, again, readings)


@pytest.mark.slow
def test_memory_that_never_suffices_is_an_error_and_not_a_loop(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    with Exploding(set(range(10_000)), MemoryError("never")), pytest.raises(MemoryError):
        engine.read(requests_of(PRIOR, QUESTIONS, arms(4)))
    requests = requests_of(PRIOR, QUESTIONS, arms(4))
    assert_true(llama, requests, engine.read(requests))


@pytest.mark.parametrize("memory", [1, 200_000, 10**9])
def test_any_budget_gives_the_same(memory: int) -> None:
    for name in ("llama", "falcon"):
        model = tiny_model(name)
        requests = requests_of(PRIOR * 3, QUESTIONS, arms(9))
        assert_true(model, requests, TransformersEngine(model, memory=memory).read(requests))


def test_a_pass_is_halved_down_to_the_smallest_and_restored() -> None:
    size = PassSize(token_bytes=10, budget=1000, fastest=80)
    assert [size.tokens(rows) for rows in (1, 3, 80, 500)] == [80, 26, 1, 1]
    assert [size.halve() for _ in range(4)] == [True, True, True, False]
    assert size.tokens(1) == PassSize.smallest
    assert size.reductions == 3
    size.restore()
    assert size.tokens(1) == 80
    assert size.reductions == 4


def test_a_pass_takes_what_the_budget_allows() -> None:
    assert PassSize(token_bytes=10, budget=400, fastest=80).tokens(1) == 40
    assert PassSize(token_bytes=10, budget=1, fastest=80).tokens(1) == PassSize.smallest


def test_without_sysconf_the_budget_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = default_budget(torch.device("cpu"))
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert default_budget(torch.device("cpu")) == pytest.approx(expected, rel=0.01)


def test_budgets_are_read_in_gib() -> None:
    assert parse_budget(None) is None
    assert parse_budget(1.5) == 3 * 1024**3 // 2
    for wrong in (0, -1, "8", True, float("nan")):
        with pytest.raises(InputError, match="expected a positive number of GiB"):
            parse_budget(wrong)
    assert default_budget(torch.device("cpu")) > 0


def test_what_says_that_memory_ran_out() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):
        assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_token_takes_more_in_a_wider_model() -> None:
    model = tiny_model("llama")
    assert token_bytes(model) == 2 * 4 * (8 * 32 + 4 * 48)
    assert token_bytes(model.bfloat16()) == token_bytes(tiny_model("llama")) // 2
