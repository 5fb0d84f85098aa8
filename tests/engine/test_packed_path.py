"""The fast path: random trees of conversations, and what it computes only once."""

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import torch
from engine_requests import PRIOR, active, arms, assert_true, forking, requests_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms, Engine, Request, TransformersEngine
from introbench.engine.attention import AttentionOfPass
from introbench.engine.kernels import Kernels, candidates
from introbench.engine.products import available
from introbench.engine.requests import Tokens
from introbench.validation.tiny_models import VOCABULARY, tiny_model

_MODELS = {name: tiny_model(name) for name in ("gemma3_text", "llama", "gpt_oss")}
_ENGINES = {name: TransformersEngine(model) for name, model in _MODELS.items()}
_tokens = st.lists(st.integers(3, 9), min_size=1, max_size=12).map(tuple)


trees = given(
    name=st.sampled_from(sorted(_MODELS)),
    priors=st.lists(
        st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=40).map(tuple), min_size=1, max_size=2
    ),
    questions=st.lists(_tokens, min_size=1, max_size=8),
    cells=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 7, 64]),
            st.integers(0, 3),
            st.integers(1, 4),
            st.sampled_from(["cache", "question", "forks"]),
        ),
        min_size=1,
        max_size=3,
    ),
    with_clean=st.booleans(),
    pass_tokens=st.sampled_from([16, 40, 1000]),
    kernels=st.sampled_from(candidates(available(torch.device("cpu"), torch.float32))),
    order=st.randoms(use_true_random=False),
)
"""Conversations in a tree: beginnings of each other, duplicates, one token; 1 to 64 arms, in different ranges of
blocks at once; in any order."""


def assert_true_for_tree(
    name: str,
    priors: list[Tokens],
    questions: list[Tokens],
    cells: list[tuple[int, int, int, str]],
    with_clean: bool,
    pass_tokens: int,
    kernels: Kernels,
    order: random.Random,
) -> None:
    model, engine = _MODELS[name], _ENGINES[name]
    engine._path = engine._fast_path(pass_tokens, kernels)
    make = {"cache": arms, "question": active, "forks": forking}
    batches: list[Arms | None] = [
        make[kind](rows, (first, min(4, first + count)), seed=seed)
        for seed, (rows, first, count, kind) in enumerate(cells)
    ]
    batches += [None] * with_clean
    requests = [request for prior in priors for batch in batches for request in requests_of(prior, questions, batch)]
    requests += requests[: len(requests) // 3]
    order.shuffle(requests)
    readings = engine.read(requests)
    for index in order.sample(range(len(requests)), min(6, len(requests))):
        assert_true(model, [requests[index]], [readings[index]])


@settings(max_examples=6, deadline=None)
@trees
def test_a_few_trees_of_conversations(**tree: Any) -> None:
    assert_true_for_tree(**tree)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@trees
def test_any_tree_of_conversations_under_any_arms(**tree: Any) -> None:
    assert_true_for_tree(**tree)


def rows_and_tokens(engine: Engine, requests: Sequence[Request]) -> list[int]:
    """How many tokens of all rows are queries in each block."""
    attended = [0] * 4
    attend = AttentionOfPass.attend

    def counted(attention: AttentionOfPass, block: int, query: Tensor, *rest: Any) -> Tensor:
        attended[block] += query.shape[0] * query.shape[2]
        return attend(attention, block, query, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttentionOfPass, "attend", counted)
        engine.read(requests)
    return attended


BRANCHING: tuple[Tokens, ...] = ((7, 1, 4), (7, 1, 5), (7, 2))


BELOW, ENDS = len(PRIOR) + 1 + 4, 3
"""Tokens of these and of the prior turn, where a shared beginning counts once; and how many end a question."""


def test_equal_requests_are_computed_once_and_shared_parts_too(llama: PreTrainedModel) -> None:
    requests = requests_of(PRIOR, BRANCHING, arms(3, blocks=(1, 2))) * 5
    assert rows_and_tokens(TransformersEngine(llama), requests) == [
        BELOW,
        BELOW,  # what is added is added to this block's output
        3 * BELOW,
        3 * (BELOW + ENDS),  # the last block is asked for its keys, and at the ends for its output
    ]


@pytest.mark.parametrize("name", sorted(_MODELS))
def test_formats_are_run_once_each_and_questions_follow_their_own(name: str) -> None:
    formats = [tuple(range(3, 18)), tuple(range(20, 38))]
    questions = [(question, *range(60, 80)) for question in range(3, 13)]
    engine, model = TransformersEngine(_MODELS[name]), _MODELS[name]
    requests = requests_of(PRIOR, [form + question for form in formats for question in questions], arms(2, (1, 2)))
    tokens = len(PRIOR) + 15 + 18 + 2 * 10 * 21
    assert rows_and_tokens(engine, requests)[:3] == [tokens, tokens, 2 * tokens]
    readings = engine.read(requests)
    for index in (0, 7, 12, 19):
        assert_true(model, [requests[index]], [readings[index]])


def test_arms_are_one_row_for_as_long_as_the_same_is_added_to_them(llama: PreTrainedModel) -> None:
    vectors, nothing = torch.randn(2, 32), torch.zeros(32)
    cells = [(vector, end) for vector in vectors for end in (1, 2, 4)]
    added = [
        torch.stack([nothing, *(vector if block < end else nothing for vector, end in cells)]) for block in range(4)
    ]
    batch = Arms.steered(dict(enumerate(added)))
    engine = TransformersEngine(llama)
    requests = requests_of(PRIOR, BRANCHING, batch)
    assert rows_and_tokens(engine, requests) == [
        BELOW,
        3 * BELOW,  # nothing or one of two vectors
        5 * BELOW,  # whose ranges that end here have parted from the others
        7 * (BELOW + ENDS),
    ]
    assert_true(llama, requests, engine.read(requests))


def test_what_is_kept_is_there_again_whatever_was_read_and_released_meanwhile(llama: PreTrainedModel) -> None:
    engine, batch = TransformersEngine(llama), arms(3, blocks=(1, 2))
    requests = requests_of(PRIOR, BRANCHING, batch)
    first = engine.read(requests)
    kept = rows_and_tokens(engine, requests)
    with engine.keeping():
        engine.read(requests_of(PRIOR[:-1], BRANCHING, arms(2, seed=1)))
        engine.release()
        engine.read(requests_of(PRIOR, BRANCHING, arms(2, seed=1)))
    assert rows_and_tokens(engine, requests) == kept, "the prior turn is not read again"
    for reading, again in zip(first, engine.read(requests), strict=True):
        assert torch.equal(reading.logprobs, again.logprobs)
    engine.release()
    assert rows_and_tokens(engine, requests) != kept


def test_what_is_kept_is_there_again_after_an_error(llama: PreTrainedModel) -> None:
    engine = TransformersEngine(llama)
    requests = requests_of(PRIOR, BRANCHING, arms(3))
    engine.read(requests)
    kept = rows_and_tokens(engine, requests)
    with suppress(KeyError), engine.keeping():
        engine.release()
        raise KeyError
    assert rows_and_tokens(engine, requests) == kept


def test_where_memory_runs_out_what_was_set_aside_is_given_up_before_arms_are_cut(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, batch = TransformersEngine(llama), arms(4)
    requests = requests_of(PRIOR, BRANCHING, batch)
    first = engine.read(requests)
    attend, failed = AttentionOfPass.attend, []

    def runs_out_once(*arguments: Any) -> Tensor:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return attend(*arguments)

    with engine.keeping():
        monkeypatch.setattr(AttentionOfPass, "attend", runs_out_once)
        again = engine.read(requests_of(PRIOR, BRANCHING, arms(4)))
    assert failed
    assert engine.reductions == 0, "nothing was cut"
    assert all(torch.equal(one.logprobs, other.logprobs) for one, other in zip(first, again, strict=True))
    assert all(
        torch.equal(one.logprobs, other.logprobs) for one, other in zip(first, engine.read(requests), strict=True)
    ), "the cache is filled again"
