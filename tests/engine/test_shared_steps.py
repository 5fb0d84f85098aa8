"""Texts on shared steps against each row alone, by transformers' own `generate` and cache, with hooks of the test's."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine
from introbench.engine.architecture import find_parts
from introbench.engine.attention import KeysAndValues
from introbench.engine.continuation import Continuation, continue_chat
from introbench.engine.forks import Forks
from introbench.engine.proof_of_steps import disagreement_of_steps
from introbench.engine.requests import Deltas
from introbench.engine.shared_steps import SharedSteps, StepKernels
from introbench.engine.step_attention import SharedPrompt
from introbench.engine.windows import EVERYWHERE, Window
from introbench.validation.tiny_models import tiny_model

PROMPT = (5, 9, 33, 2, 71, 18, 40, 8, 9, 11, 12)
SEEDS = (3, 1, 4, 1, 5)
WINDOWS = (EVERYWHERE, Window(3), Window(0, 6), Window(2, 7))
LENGTH = 12
END = (2, 50, 61)

pytestmark = pytest.mark.usefixtures("one_thread")


def vectors() -> Deltas:
    """Two arms of two and one texts that part at the second block, one that parts at the third, and a sham."""
    drawn = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    drawn[3] = 0
    return {1: drawn[[0, 0, 1, 3, 3]], 2: drawn[[3, 3, 3, 2, 3]]}


def written(
    engine: TransformersEngine,
    deltas: Deltas,
    seeds: Sequence[int] = SEEDS,
    window: Window = EVERYWHERE,
    **given: object,
) -> list[Continuation]:
    options = {"length": LENGTH, "temperature": 1.0, "end": END} | given
    return engine.continue_chat(PROMPT, deltas, seeds, window=window, scored=False, **options)  # type: ignore[arg-type]


def steer_window(model: PreTrainedModel, window: Window, added: dict[int, Tensor], stack: ExitStack) -> None:
    """Hooks that add vectors at the window's positions, which they count themselves."""
    counts = dict.fromkeys(added, 0)
    for block, vector in added.items():

        def add(_module: object, _args: object, output: Tensor, vector: Tensor = vector, block: int = block) -> Tensor:
            begin = counts[block]
            counts[block] += output.shape[1]
            positions = torch.arange(begin, begin + output.shape[1])
            on = (positions >= window.begin) & (positions < (10**9 if window.end is None else window.end))
            return output + on[None, :, None] * vector

        stack.callback(find_parts(model).layers[block].register_forward_hook(add).remove)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_greedy_texts_equal_generate_under_a_hook(llama: PreTrainedModel, window: Window) -> None:
    deltas = vectors()
    given = written(TransformersEngine(llama), deltas, window=window, temperature=0.0)
    for row, text in enumerate(given):
        with ExitStack() as stack:
            steer_window(llama, window, {block: delta[row] for block, delta in deltas.items()}, stack)
            ids = llama.generate(
                torch.tensor([PROMPT]), max_new_tokens=LENGTH, do_sample=False, eos_token_id=list(END), pad_token_id=0
            )[0, len(PROMPT) :].tolist()
        assert text.tokens == tuple(ids[:-1] if ids[-1] in END else ids)
    assert len({text.tokens for text in given}) > 1


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_architecture_writes_what_transformers_cache_writes(any_model: PreTrainedModel, window: Window) -> None:
    engine, deltas = TransformersEngine(any_model), vectors()
    options = {"length": LENGTH, "temperature": 1.0, "end": END}
    plain = continue_chat(engine.weights, engine.readout, PROMPT, deltas, SEEDS, window=window, scored=False, **options)  # type: ignore[arg-type]
    given = written(engine, deltas, window=window)
    assert [text.tokens for text in given] == [text.tokens for text in plain]
    assert [text.finite for text in given] == [text.finite for text in plain]


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "gpt_oss"])
def test_a_text_does_not_depend_on_the_texts_beside_it(architecture: str) -> None:
    engine, deltas = TransformersEngine(tiny_model(architecture)), vectors()
    together = written(engine, deltas, window=Window(3))
    for parts in ([0, 1, 2, 3, 5], [0, 2, 5], [0, 4, 5]):
        pieces: list[Continuation] = []
        for first, last in pairwise(parts):
            of_rows = {block: delta[first:last] for block, delta in deltas.items()}
            pieces += written(engine, of_rows, SEEDS[first:last], window=Window(3))
        assert [piece.tokens for piece in pieces] == [text.tokens for text in together]
    again = written(engine, deltas, window=Window(3))
    assert [text.tokens for text in again] == [text.tokens for text in together]


def test_texts_that_end_leave_the_batch(llama: PreTrainedModel) -> None:
    rows: list[int] = []
    engine = TransformersEngine(llama)
    written(engine, vectors())  # the proof is over
    handle = find_parts(llama).layers[3].register_forward_pre_hook(lambda _m, args: rows.append(args[0].shape[0]))
    given = written(engine, vectors(), end=range(40))
    handle.remove()
    lengths = [len(text.tokens) for text in given]
    assert len(set(lengths)) > 1
    # One pass over the prompt, with a row for each of four arms; then the texts that have not ended yet.
    assert rows == [4, *(sum(length > step for length in lengths) for step in range(max(lengths)) if step < LENGTH - 1)]


def test_what_stands_before_the_window_is_read_once(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    written(engine, vectors(), length=1)
    shapes: list[tuple[int, int]] = []
    handle = find_parts(llama).layers[2].register_forward_pre_hook(lambda _m, args: shapes.append(args[0].shape[:2]))
    written(engine, vectors(), window=Window(4), length=1)
    handle.remove()
    assert [tuple(shape) for shape in shapes] == [(1, 4), (3, 7)]


def test_a_row_that_is_not_finite_ends_there_and_spoils_no_other(llama: PreTrainedModel) -> None:
    engine, deltas = TransformersEngine(llama), vectors()
    expected = written(engine, deltas)
    deltas[1][2] = torch.inf
    given = written(engine, deltas)
    assert given[2].tokens == ()
    assert not given[2].finite
    assert [text.tokens for row, text in enumerate(given) if row != 2] == [
        text.tokens for row, text in enumerate(expected) if row != 2
    ]


def test_shared_keys_serve_every_text_of_a_row() -> None:
    """Against attention of each text by itself over its own copy of the keys."""
    draw = torch.Generator().manual_seed(0)
    forks = Forks(5, [(0, ["a", "a", "b", None, "b"])])
    keys = KeysAndValues(6)
    pair = [torch.randn(3, 2, 6, 8, generator=draw) for _ in range(2)]
    keys.write(1, 0, *pair)
    prompt = SharedPrompt(keys, 6, forks)
    texts = [0, 2, 3, 4]
    prompt.read_by(texts)
    query = torch.randn(4, 2, 3, 8, generator=draw)
    for fused in (True, False):
        output, lse = prompt.attend(1, query, 2, 0.3, None, fused) or (query, query)
        for place, text in enumerate(texts):
            row = forks.row_of_arms(0)[text]
            scores = 0.3 * query[place] @ pair[0][row, :, 2:].transpose(1, 2)
            assert torch.allclose(lse[place], scores.logsumexp(dim=-1), atol=1e-5)
            assert torch.allclose(output[place], scores.softmax(dim=-1) @ pair[1][row, :, 2:], atol=1e-5)
    assert prompt.attend(1, query, 6, 0.3, None, True) is None


def test_steps_that_disagree_with_the_model_are_not_used(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    engine = TransformersEngine(llama)
    kernels = engine._steps
    assert isinstance(kernels, StepKernels)
    assert engine.readout is not None
    assert disagreement_of_steps(engine.weights, engine.readout, kernels) == ""
    expected = written(engine, vectors())

    attend = SharedPrompt.attend
    monkeypatch.setattr(SharedPrompt, "attend", lambda self, *given: attend(self, given[0], given[1], 1, *given[3:]))
    assert disagreement_of_steps(engine.weights, engine.readout, kernels).startswith("they move log-probabilities by ")
    other = TransformersEngine(llama)
    assert [text.tokens for text in written(other, vectors())] == [text.tokens for text in expected]
    assert other._steps is None
    assert told[-1].startswith("texts are written without shared steps: they move log-probabilities by ")
    monkeypatch.setattr(SharedSteps, "go_on", lambda *_: 1 / 0)
    assert disagreement_of_steps(engine.weights, engine.readout, kernels) == "ZeroDivisionError: division by zero"
