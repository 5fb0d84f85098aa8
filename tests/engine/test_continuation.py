"""Continuations against a loop that runs each row alone and uncached, token by token, steered on all of them."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench import progress
from introbench.engine.architecture import find_parts
from introbench.engine.continuation import Continuation, continue_chat
from introbench.engine.hooks import steering
from introbench.engine.readout import Readout
from introbench.engine.requests import Deltas, Tokens
from introbench.engine.weights import Weights
from introbench.errors import InputError
from introbench.validation.tiny_models import VOCABULARY, tiny_model

PROMPT = (5, 9, 33, 2, 71, 18, 40)
SEEDS = (3, 1, 4, 1, 5)
LENGTH = 10
END = (2, 50, 61)

pytestmark = pytest.mark.usefixtures("one_thread")


def vectors(rows: int = len(SEEDS), blocks: tuple[int, int] = (1, 3), scale: float = 1.0, seed: int = 1) -> Deltas:
    draw = torch.Generator().manual_seed(seed)
    return {block: scale * torch.randn(rows, 32, generator=draw) for block in range(*blocks)}


def written(
    model: PreTrainedModel,
    deltas: Deltas,
    seeds: Sequence[int] = SEEDS,
    *,
    temperature: float = 1.0,
    readout: bool = True,
    length: int = LENGTH,
    end: Collection[int] = END,
    memory: int | None = None,
) -> list[Continuation]:
    weights = Weights(model)
    read = Readout(model, weights.parts) if readout else None
    return continue_chat(
        weights, read, PROMPT, deltas, seeds, length=length, temperature=temperature, end=end, memory=memory
    )


@torch.inference_mode()
def by_hand(
    model: PreTrainedModel,
    added: dict[int, Tensor],
    seed: int,
    *,
    temperature: float = 1.0,
    length: int = LENGTH,
    end: Collection[int] = END,
) -> tuple[Tokens, float]:
    """One row's tokens and their mean log-probability with nothing added."""
    random = np.random.default_rng(seed)
    tokens: Tokens = ()
    logprobs = []
    while len(tokens) < length:
        ids = torch.tensor([[*PROMPT, *tokens]])
        with steering(find_parts(model).layers, {block: vector[None] for block, vector in added.items()}):
            logits = model(ids, use_cache=False).logits[0, -1]
        gumbel = -np.log(random.standard_exponential(VOCABULARY)) if temperature else np.zeros(VOCABULARY)
        token = int((logits.double() + temperature * torch.from_numpy(gumbel)).argmax())
        if token in end:
            break
        logprobs.append(float(model(ids, use_cache=False).logits[0, -1].double().log_softmax(dim=0)[token]))
        tokens += (token,)
    return tokens, sum(logprobs) / len(logprobs) if logprobs else math.nan


def assert_as_by_hand(
    model: PreTrainedModel,
    deltas: Deltas,
    given: Sequence[Continuation],
    seeds: Sequence[int] = SEEDS,
    temperature: float = 1.0,
) -> None:
    assert len(given) == len(seeds)
    for row, (seed, continuation) in enumerate(zip(seeds, given, strict=True)):
        added = {block: delta[row] for block, delta in deltas.items()}
        tokens, mean_logprob = by_hand(model, added, seed, temperature=temperature)
        assert continuation.tokens == tokens
        assert continuation.mean_logprob == pytest.approx(mean_logprob, abs=1e-4, nan_ok=True)
        assert continuation.finite


@contextmanager
def counted_passes(model: PreTrainedModel, fail: Collection[int] = ()) -> Iterator[list[int]]:
    """Rows of every pass; some passes run out of memory half-way."""
    passes: list[int] = []

    def count(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        passes.append(args[0].shape[0])
        if len(passes) in fail:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = find_parts(model).layers[2].register_forward_pre_hook(count)
    try:
        yield passes
    finally:
        handle.remove()


def hooks(model: PreTrainedModel) -> list[tuple[int, int]]:
    return [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]


def test_every_architecture_writes_what_the_loop_writes(any_model: PreTrainedModel) -> None:
    deltas = vectors()
    given = written(any_model, deltas)
    assert_as_by_hand(any_model, deltas, given)
    assert len({continuation.tokens for continuation in given}) > 1


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "qwen3_moe", "cohere", "granite"])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_through_the_models_own_logits(architecture: str, temperature: float) -> None:
    model, deltas = tiny_model(architecture), vectors(blocks=(2, 4))
    given = written(model, deltas, temperature=temperature, readout=False)
    assert_as_by_hand(model, deltas, given, temperature=temperature)


def test_the_vector_is_added_to_the_continuation_too(llama: PreTrainedModel) -> None:
    """A loop that steers the prompt alone writes something else, so this test would notice."""
    deltas = vectors(1, scale=2.0)
    (given,) = written(llama, deltas, [0], temperature=0, end=())
    tokens = list(PROMPT)
    with torch.inference_mode(), steering(find_parts(llama).layers, deltas, slice(0, len(PROMPT))):
        for _ in range(LENGTH):
            tokens.append(int(llama(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    assert given.tokens[0] == tokens[len(PROMPT)]
    assert given.tokens != tuple(tokens[len(PROMPT) :])


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "gpt_oss"])
def test_a_text_does_not_depend_on_the_rows_beside_it(architecture: str) -> None:
    model, deltas = tiny_model(architecture), vectors()
    together = written(model, deltas)
    for parts in ([0, 1, 2, 3, 5], [0, 2, 5], [0, 4, 5]):
        pieces: list[Continuation] = []
        for first, last in pairwise(parts):
            of_rows = {block: delta[first:last] for block, delta in deltas.items()}
            pieces += written(model, of_rows, SEEDS[first:last])
        assert [piece.tokens for piece in pieces] == [text.tokens for text in together]
    order = [4, 2, 0, 1, 3]
    shuffled = written(model, {b: delta[order] for b, delta in deltas.items()}, [SEEDS[row] for row in order])
    assert [text.tokens for text in shuffled] == [together[row].tokens for row in order]


@pytest.mark.parametrize("readout", [True, False])
def test_any_budget_gives_the_same(llama: PreTrainedModel, readout: bool) -> None:
    deltas = vectors()
    for memory, rows in ((1, 1), (10**9, 5)):
        with counted_passes(llama) as passes:
            given = written(llama, deltas, memory=memory, readout=readout)
        assert max(passes) == rows
        assert_as_by_hand(llama, deltas, given)


@pytest.mark.parametrize("fail", [{1}, {4}, {11}, {1, 2}, {3, 15}, {3, 34}])
def test_running_out_of_memory_halves_the_batch_and_loses_nothing(fail: set[int], told: list[str]) -> None:
    """Passes 1 to 10 write, the next one scores; after {3}, three batches write and pass 34 is the first to score."""
    model, deltas = tiny_model("llama"), vectors()
    before = hooks(model)
    with counted_passes(model, fail) as passes:
        given = written(model, deltas, end=())
    assert passes[max(fail)] < passes[max(fail) - 1]
    for text, expected in zip(given, written(model, deltas, end=()), strict=True):
        assert text.tokens == expected.tokens
        assert text.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-5)
    assert hooks(model) == before
    assert len(told) == len(fail)
    assert told[0] == "memory ran out: 2 continuations at a time from now on"


def test_memory_that_never_suffices_is_an_error_and_not_a_loop(told: list[str]) -> None:
    model = tiny_model("llama")
    before = hooks(model)
    with counted_passes(model, range(1000)) as passes, pytest.raises(torch.OutOfMemoryError):
        written(model, vectors())
    assert passes == [5, 2, 1]
    assert hooks(model) == before
    assert len(told) == 2


def test_other_errors_are_passed_on(llama: PreTrainedModel) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("in the middle")

    before = hooks(llama)
    bomb = llama.model.layers[2].mlp.register_forward_hook(explode)
    with pytest.raises(RuntimeError, match="in the middle"):
        written(llama, vectors())
    bomb.remove()
    assert hooks(llama) == before


@pytest.mark.parametrize("tick", [3, 21, 43])
def test_a_cancelled_step_ends_between_two_blocks(tick: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 43rd tick comes while the texts are scored."""
    model = tiny_model("llama")
    before, ticks = hooks(model), 0

    class Cancelled(BaseException):
        pass

    def cancel() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == tick:
            raise Cancelled

    monkeypatch.setattr(progress, "_cancellation", [cancel])
    with pytest.raises(Cancelled):
        written(model, vectors(), end=())
    assert ticks == tick
    assert hooks(model) == before


def test_an_end_token_ends_its_row_and_is_no_part_of_the_text(llama: PreTrainedModel) -> None:
    deltas = vectors()
    endless = written(llama, deltas, end=())
    assert all(len(text.tokens) == LENGTH for text in endless)
    end = {endless[0].tokens[4], endless[1].tokens[0]}
    given = written(llama, deltas, end=end)
    for text, without_end in zip(given, endless, strict=True):
        stop = next((place for place, token in enumerate(without_end.tokens) if token in end), LENGTH)
        assert text.tokens == without_end.tokens[:stop]
    assert given[1].tokens == ()
    assert math.isnan(given[1].mean_logprob)
    assert given[1].finite


def test_nothing_more_is_run_when_all_rows_have_ended(llama: PreTrainedModel) -> None:
    with counted_passes(llama) as passes:
        given = written(llama, vectors(), end=range(VOCABULARY))
    assert passes == [5]
    assert [text.tokens for text in given] == [()] * 5


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
@pytest.mark.parametrize("readout", [True, False])
def test_a_row_that_is_not_finite_ends_there_and_spoils_no_other(architecture: str, readout: bool) -> None:
    model, deltas = tiny_model(architecture), vectors()
    expected = written(model, deltas)
    deltas[1][1] = math.inf
    given = written(model, deltas, readout=readout)
    assert given[1].tokens == ()
    assert not given[1].finite
    assert math.isnan(given[1].mean_logprob)
    for row in (0, 2, 3, 4):
        assert given[row].tokens == expected[row].tokens
        assert given[row].mean_logprob == pytest.approx(expected[row].mean_logprob, abs=1e-5)
        assert given[row].finite


def test_strength_zero_is_no_injection(llama: PreTrainedModel) -> None:
    assert written(llama, vectors(scale=0.0)) == written(llama, {})


def test_rows_of_one_seed_share_their_noise(llama: PreTrainedModel) -> None:
    first, second, other = written(llama, vectors(3, scale=0.0), [7, 7, 8], end=())
    assert first.tokens == second.tokens != other.tokens


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_they_are_likely(llama: PreTrainedModel, temperature: float) -> None:
    """Counts of the first token against the steered distribution: chi-square, with the rare tokens taken together."""
    rows = 3000
    added = vectors(1)
    deltas = {block: delta.expand(rows, -1) for block, delta in added.items()}
    given = written(llama, deltas, range(rows), temperature=temperature, length=1, end=())
    with torch.inference_mode(), steering(find_parts(llama).layers, added):
        logits = llama(torch.tensor([PROMPT]), use_cache=False).logits[0, -1].double()
    expected = rows * (logits / temperature).softmax(dim=0).numpy()
    counts = np.bincount([text.tokens[0] for text in given], minlength=VOCABULARY)
    often = expected >= 5
    pairs = [(counts[often], expected[often]), (counts[~often].sum(keepdims=True), expected[~often].sum(keepdims=True))]
    chi_square = sum(float(((seen - wanted) ** 2 / np.maximum(wanted, 1)).sum()) for seen, wanted in pairs)
    degrees = int(often.sum())
    assert degrees >= 3
    assert chi_square < degrees + 4 * math.sqrt(2 * degrees)


def test_bfloat16_models_are_read_in_float32() -> None:
    model, deltas = tiny_model("llama").bfloat16(), vectors()
    given = written(model, deltas, end=())
    exact = tiny_model("llama")
    for text in given:
        ids = torch.tensor([[*PROMPT, *text.tokens]])
        with torch.inference_mode():
            logprobs = exact(ids).logits[0, len(PROMPT) - 1 : -1].log_softmax(dim=-1)
        mean = float(logprobs[range(LENGTH), text.tokens].mean())
        assert text.mean_logprob == pytest.approx(mean, abs=0.5)
        assert text.mean_logprob != float(torch.tensor(text.mean_logprob).bfloat16())


def test_other_weights_are_switched_on_for_writing_and_scoring(llama: PreTrainedModel) -> None:
    states: list[bool] = []
    is_on = False

    @contextmanager
    def switched() -> Iterator[None]:
        nonlocal is_on
        is_on = True
        yield
        is_on = False

    handle = llama.model.layers[0].register_forward_pre_hook(lambda *_: states.append(is_on))
    continue_chat(Weights(llama, switched), None, PROMPT, {}, [0], length=2, temperature=0, end=())
    handle.remove()
    assert states == [True] * 3


def test_no_rows_give_nothing(llama: PreTrainedModel) -> None:
    assert written(llama, vectors(0), []) == []


def test_bad_arguments_are_refused_in_one_line(llama: PreTrainedModel) -> None:
    with pytest.raises(InputError, match="length=0: expected at least 1 token"):
        written(llama, vectors(), length=0)
    for temperature in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match=f"temperature={temperature}: expected 0"):
            written(llama, vectors(), temperature=temperature)
    with pytest.raises(ValueError, match=r"delta of shape \(4, 32\) at block 1: expected \[5, hidden\]"):
        written(llama, vectors(4))
