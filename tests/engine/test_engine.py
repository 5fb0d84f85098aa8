"""The engine against one uncached forward pass per conversation, steered on the prior turn alone."""

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from introbench import progress
from introbench.engine import Arms, Engine, Reading, Request, Want, pieces
from introbench.engine import attention as cascade
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import steering
from introbench.engine.kernels import Kernels, candidates
from introbench.engine.memory import PassSize
from introbench.engine.plain_path import one_forward
from introbench.engine.requests import Tokens
from introbench.engine.trie import chain
from introbench.engine.weights import Weights
from introbench.errors import InputError
from introbench.validation.tiny_models import OWN_ATTENTION, VOCABULARY, tiny_model

PRIOR = (5, 9, 33, 2, 71, 18, 40, 11, 64, 3)
QUESTIONS: tuple[Tokens, ...] = ((7,), (7, 90, 4, 52), (7, 90), (8, 1), (7, 3, 3))
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EVERYTHING = Want(tokens=tuple(range(VOCABULARY)), top=3)


def arms(rows: int, blocks: tuple[int, int] = (1, 3), scale: float = 1.0, seed: int = 1, hidden: int = 32) -> Arms:
    draw = torch.Generator().manual_seed(seed)
    return Arms.steered({block: scale * torch.randn(rows, hidden, generator=draw) for block in range(*blocks)})


def active(rows: int, blocks: tuple[int, int] = (1, 3), seed: int = 1) -> Arms:
    """Arms that are steered while the question is read as well, and elsewhere than on the prior turn."""
    under, other = arms(rows, blocks, seed=seed), arms(rows, (max(0, blocks[0] - 1), blocks[1]), seed=seed + 100)
    return Arms.steered(under.deltas, other.deltas)


def forking(rows: int, blocks: tuple[int, int] = (0, 4), seed: int = 1) -> Arms:
    """Arms that part from each other in different blocks, if at all, in the prior turn or not before the question."""
    draw = torch.Generator().manual_seed(seed)

    def deltas() -> dict[int, Tensor]:
        several = torch.cat([torch.zeros(2, 32), torch.randn(1, 32, generator=draw)])
        return {block: several[torch.randint(0, 3, (rows,), generator=draw)] for block in range(*blocks)}

    return Arms.steered(deltas(), deltas())


def in_part(rows: int, blocks: tuple[int, int] = (1, 3), seed: int = 1) -> Arms:
    """Arms that steer each token of the prior turn by a share of its own: none, half, in full, twice."""
    shares = torch.randint(0, 5, (rows, len(PRIOR)), generator=torch.Generator().manual_seed(seed)) / 2
    return replace(arms(rows, blocks, seed=seed), profile=shares)


def asked(prior: Tokens, questions: Sequence[Tokens], under: Arms | None, want: Want = EVERYTHING) -> list[Request]:
    return [Request(prior + question, len(prior), want, under) for question in questions]


def truth(model: PreTrainedModel, request: Request) -> Tensor:
    deltas = (request.arms.deltas, request.arms.question_deltas) if request.arms else ({}, {})
    profile = request.arms.profile if request.arms else None
    return one_forward(Weights(model), request.tokens, request.prior, *deltas, profile=profile)


def assert_true(model: PreTrainedModel, requests: Sequence[Request], readings: Sequence[Reading]) -> None:
    assert len(readings) == len(requests)
    for request, reading in zip(requests, readings, strict=True):
        expected = truth(model, request)[:, list(request.want.tokens)]
        torch.testing.assert_close(reading.logprobs, expected, atol=1e-4, rtol=0)


def hooks_and_patches(model: PreTrainedModel) -> list[Any]:
    return [
        (len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module))
        for module in model.modules()
    ] + [model.config._attn_implementation]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("device", DEVICES)
def test_every_path_gives_what_one_forward_pass_gives(any_model: PreTrainedModel, device: str, fast: bool) -> None:
    model = copy.deepcopy(any_model).to(device)  # type: ignore[arg-type]
    engine = Engine(model, fast=fast)
    is_fast = fast and model.config.model_type not in OWN_ATTENTION
    assert engine.notes["path"].startswith("fast: shared prior turns" if is_fast else "plain: question by question")
    requests = [
        *asked(PRIOR, QUESTIONS, arms(3)),
        *asked(PRIOR, QUESTIONS, None),
        *asked(PRIOR, QUESTIONS, arms(2, blocks=(0, 1), seed=2)),
        *asked(PRIOR, QUESTIONS, arms(2, blocks=(3, 4), seed=3)),
        *asked(PRIOR[:1], QUESTIONS, arms(2)),
        *asked(PRIOR, QUESTIONS, active(2)),
        *asked(PRIOR, QUESTIONS, active(2, blocks=(3, 4))),
        *asked(PRIOR, QUESTIONS, in_part(3)),
        *asked(PRIOR, QUESTIONS, forking(6)),
        *asked(PRIOR, QUESTIONS, replace(forking(6), profile=in_part(6).profile)),
    ]
    readings = engine.read(requests)
    assert_true(model, requests, readings)
    moved = (readings[0].logprobs[0] - readings[0].logprobs[1]).abs().max()
    assert moved > 1e-3, "the injection must move the answer for this to test anything"


def test_a_model_with_an_attention_of_its_own_says_so() -> None:
    note = Engine(tiny_model("falcon")).notes["path"]
    assert note == (
        "plain: question by question (this model's attention does not go through transformers' attention interface)"
    )


_MODELS = {name: tiny_model(name) for name in ("gemma3_text", "llama", "gpt_oss")}
_ENGINES = {name: Engine(model) for name, model in _MODELS.items()}
_tokens = st.lists(st.integers(3, 9), min_size=1, max_size=12).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
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
    kernels=st.sampled_from(candidates(torch.device("cpu"), torch.float32)),
    order=st.randoms(use_true_random=False),
)
def test_any_tree_of_conversations_under_any_arms(
    name: str,
    priors: list[Tokens],
    questions: list[Tokens],
    cells: list[tuple[int, int, int, str]],
    with_clean: bool,
    pass_tokens: int,
    kernels: Kernels,
    order: random.Random,
) -> None:
    """Beginnings of each other, duplicates, one token, 1 to 64 arms, several layer ranges at once, in any order."""
    model, engine = _MODELS[name], _ENGINES[name]
    engine._path = engine._fast_path(pass_tokens, kernels)
    make = {"cache": arms, "question": active, "forks": forking}
    under: list[Arms | None] = [
        make[kind](rows, (first, min(4, first + several)), seed=seed)
        for seed, (rows, first, several, kind) in enumerate(cells)
    ]
    requests = [
        request for prior in priors for each in under + [None] * with_clean for request in asked(prior, questions, each)
    ]
    requests += requests[: len(requests) // 3]
    order.shuffle(requests)
    readings = engine.read(requests)
    for index in order.sample(range(len(requests)), min(6, len(requests))):
        assert_true(model, [requests[index]], [readings[index]])


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "cohere", "gpt_oss"])
def test_the_lens_and_the_residuals_are_those_of_one_forward_pass(architecture: str) -> None:
    model = tiny_model(architecture)
    engine = Engine(model)
    assert engine.notes["path"].startswith("fast")
    own = forking(6).deltas
    alike = Arms.steered({block: delta[[0, 1, 0, 2, 3, 1]] for block, delta in own.items()})  # some to the very end
    want = Want(tokens=EVERYTHING.tokens, lens=True, residuals=True)
    requests = [request for under in (arms(3), alike, None) for request in asked(PRIOR, QUESTIONS, under, want)]
    for request, reading in zip(requests, engine.read(requests), strict=True):
        deltas = request.arms.deltas if request.arms else {}
        rows = request.arms.rows if request.arms else 1
        ids = torch.tensor([list(request.tokens)] * rows)
        with torch.inference_mode(), steering(engine.parts.layers, deltas, slice(0, request.prior)):
            states = model(ids, use_cache=False, output_hidden_states=True)
        for block in range(3):  # the last entry of hidden_states is after the final norm
            torch.testing.assert_close(
                reading.residuals[block], states.hidden_states[block + 1][:, -1], atol=1e-4, rtol=1e-4
            )
            assert engine.readout is not None
            lens = torch.log_softmax(engine.readout(states.hidden_states[block + 1][:, -1]), dim=-1)
            torch.testing.assert_close(reading.lens[block], lens, atol=1e-4, rtol=0)
        assert torch.equal(reading.lens[3], reading.logprobs), "the last layer is the answer itself, not normed twice"
        own = torch.log_softmax(states.logits[:, -1], dim=-1)
        torch.testing.assert_close(reading.lens[3], own, atol=1e-4, rtol=0)


def test_top_tokens_and_forms_agree(llama: PreTrainedModel) -> None:
    (reading,) = Engine(llama).read(asked(PRIOR, [(7, 8)], arms(4)))
    best = reading.logprobs.topk(3, dim=-1)
    assert torch.equal(best.indices, reading.top_ids)
    torch.testing.assert_close(best.values, reading.top_logprobs)
    torch.testing.assert_close(reading.logprobs.exp().sum(dim=-1), torch.ones(4))


def rows_and_tokens(engine: Engine, requests: Sequence[Request]) -> list[int]:
    """How many tokens of all rows ask in each block."""
    attended = [0] * 4
    attend = cascade.AttentionOfPass.attend

    def counted(view: cascade.AttentionOfPass, block: int, query: Tensor, *rest: Any) -> Tensor:
        attended[block] += query.shape[0] * query.shape[2]
        return attend(view, block, query, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cascade.AttentionOfPass, "attend", counted)
        engine.read(requests)
    return attended


BRANCHING: tuple[Tokens, ...] = ((7, 1, 4), (7, 1, 5), (7, 2))
BELOW, ENDS = len(PRIOR) + 1 + 4, 3
"""Their tokens with the prior turn's, a shared beginning counted once, and how many of them are the last ones."""


def test_equal_requests_are_computed_once_and_shared_parts_too(llama: PreTrainedModel) -> None:
    requests = asked(PRIOR, BRANCHING, arms(3, blocks=(1, 2))) * 5
    assert rows_and_tokens(Engine(llama), requests) == [
        BELOW,
        BELOW,  # what is added is added to this block's output
        3 * BELOW,
        3 * (BELOW + ENDS),  # the last block is asked for its keys, and at the ends for its output
    ]


def test_arms_are_one_row_for_as_long_as_the_same_is_added_to_them(llama: PreTrainedModel) -> None:
    vectors, nothing = torch.randn(2, 32), torch.zeros(32)
    cells = [(vector, end) for vector in vectors for end in (1, 2, 4)]
    added = [
        torch.stack([nothing, *(vector if block < end else nothing for vector, end in cells)]) for block in range(4)
    ]
    under = Arms.steered(dict(enumerate(added)))
    engine = Engine(llama)
    requests = asked(PRIOR, BRANCHING, under)
    assert rows_and_tokens(engine, requests) == [
        BELOW,
        3 * BELOW,  # nothing or one of two vectors
        5 * BELOW,  # whose ranges that end here have parted from the others
        7 * (BELOW + ENDS),
    ]
    assert_true(llama, requests, engine.read(requests))


def test_strength_zero_is_no_injection_bit_for_bit(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    nothing = engine.read(asked(PRIOR, QUESTIONS, Arms(rows=2, first=1, deltas={})))
    zeros = engine.read(asked(PRIOR, QUESTIONS, arms(2, scale=0.0)))
    for ours, theirs in zip(nothing, zeros, strict=True):
        assert torch.equal(ours.logprobs, theirs.logprobs)


@pytest.mark.parametrize("fast", [True, False])
def test_a_part_of_the_prior_turn_is_steered_by_exactly_its_share(llama: PreTrainedModel, fast: bool) -> None:
    """The definition: each block's output at each token gets share x delta, against a hook of the test's own."""
    under = in_part(3)
    engine = Engine(llama, fast=fast)
    engine._path = engine._fast_path(16, candidates(torch.device("cpu"), torch.float32)[0]) if fast else engine._path
    readings = engine.read(asked(PRIOR, QUESTIONS, under))
    assert under.profile is not None
    for question, reading in zip(QUESTIONS, readings, strict=True):
        for row in range(3):
            shares = torch.cat([under.profile[row], torch.zeros(len(question))])
            handles = [
                llama.model.layers[block].register_forward_hook(
                    lambda _m, _a, output, add=shares[:, None] * delta[row]: output + add
                )
                for block, delta in under.deltas.items()
            ]
            expected = torch.log_softmax(llama(torch.tensor([PRIOR + question])).logits[0, -1], dim=-1)
            for handle in handles:
                handle.remove()
            torch.testing.assert_close(reading.logprobs[row], expected, atol=1e-4, rtol=0)
    whole = replace(under, profile=torch.ones(3, len(PRIOR)))
    in_full = replace(under, profile=None)
    with_ones, without = (engine.read(asked(PRIOR, QUESTIONS[:1], each))[0].logprobs for each in (whole, in_full))
    assert torch.equal(with_ones, without)


def test_arms_made_for_another_prior_turn_are_refused() -> None:
    with pytest.raises(ValueError, match="profile of 10 tokens: expected one of the prior turn's 3"):
        asked(PRIOR[:3], QUESTIONS[:1], in_part(2))
    with pytest.raises(ValueError, match=r"profile of shape \(3, 10\): expected \[2, prior tokens\]"):
        replace(arms(2), profile=in_part(3).profile)


def test_divergence_is_that_of_each_arms_distribution_from_the_firsts(llama: PreTrainedModel) -> None:
    under = arms(4, scale=0.3)
    (reading,) = Engine(llama).read(asked(PRIOR, QUESTIONS[1:2], under, Want(divergence=True)))
    every = truth(llama, asked(PRIOR, QUESTIONS[1:2], under)[0]).double()
    expected = [torch.nn.functional.kl_div(row, every[0], reduction="sum", log_target=True) for row in every]
    torch.testing.assert_close(reading.divergence, torch.stack(expected), atol=1e-6, rtol=1e-4)
    assert reading.divergence[0] == 0
    assert reading.divergence[1:].min() > 1e-3


def test_only_the_prior_turn_is_steered_and_by_exactly_the_vector(llama: PreTrainedModel) -> None:
    added = arms(1).deltas
    tokens = torch.tensor([[*PRIOR, 7, 90, 4, 52]])
    layers = find_parts(llama).layers

    def outputs(steered: bool) -> list[Tensor]:
        kept: list[Tensor] = []
        context = steering(layers, added if steered else {}, slice(0, len(PRIOR)))
        with torch.inference_mode(), context:
            # registered after the steering hooks, so they see what the next block is given
            looks = [
                layer.register_forward_hook(lambda _m, _a, output: kept.append(output.clone())) for layer in layers
            ]
            llama(tokens)
        for look in looks:
            look.remove()
        return kept

    clean, steered = outputs(steered=False), outputs(steered=True)
    assert torch.equal(clean[0], steered[0])
    assert torch.equal(steered[1][:, : len(PRIOR)], clean[1][:, : len(PRIOR)] + added[1])
    assert torch.equal(steered[1][:, len(PRIOR) :], clean[1][:, len(PRIOR) :])


class Exploding:
    """Raises at some calls of the attention, and counts them."""

    def __init__(self, at: set[int], error: Exception) -> None:
        self.calls = 0
        self._at = at
        self._error = error

    def __enter__(self) -> "Exploding":
        self._attend = attend = cascade.AttentionOfPass.attend

        def explode(view: cascade.AttentionOfPass, *rest: Any) -> Tensor:
            self.calls += 1
            if self.calls in self._at:
                raise self._error
            return attend(view, *rest)

        cascade.AttentionOfPass.attend = explode  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        cascade.AttentionOfPass.attend = self._attend  # type: ignore[method-assign]


@settings(max_examples=15, deadline=None)
@given(
    at=st.sets(st.integers(1, 60), max_size=6), rows=st.sampled_from([1, 2, 5]), pass_tokens=st.sampled_from([16, 64])
)
def test_running_out_of_memory_cuts_the_batch_and_loses_nothing(at: set[int], rows: int, pass_tokens: int) -> None:
    engine = Engine(_MODELS["llama"])
    kernels = Kernels(fused_attention=True, onednn=False)
    engine._path = engine._fast_path(pass_tokens, kernels)
    before = hooks_and_patches(engine.model)
    requests = asked(PRIOR * 2, QUESTIONS, arms(rows)) + asked(PRIOR, QUESTIONS, arms(rows, seed=4))
    with Exploding(at, torch.OutOfMemoryError("CUDA out of memory")) as explosions:
        try:
            readings = engine.read(requests)
        except torch.OutOfMemoryError:
            assert engine.reductions or pass_tokens == PassSize.smallest, (
                "given up only where nothing is left to be cut"
            )
            readings = []
    happened = len([call for call in at if call <= explosions.calls])
    if readings:
        assert_true(engine.model, requests, readings)
        assert engine.reductions == happened
    assert hooks_and_patches(engine.model) == before
    assert_true(engine.model, requests, engine.read(requests))


def test_arms_are_split_from_the_right_block_though_the_clean_run_has_gone_on(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    engine._path = engine._fast_path(PassSize.smallest, Kernels(fused_attention=True, onednn=False))
    under = arms(4)
    engine.read(asked(PRIOR, QUESTIONS, under))
    engine.read(asked(PRIOR, QUESTIONS, None))  # the clean run now stands at the end; the arms' keys are kept
    again = asked(PRIOR, [(20, 21), (22,)], under)
    with Exploding({3}, torch.OutOfMemoryError("CUDA out of memory")):
        readings = engine.read(again)
    assert engine.reductions == 1
    assert_true(llama, again, readings)


def test_memory_that_never_suffices_is_an_error_and_not_a_loop(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    with Exploding(set(range(10_000)), MemoryError("never")), pytest.raises(MemoryError):
        engine.read(asked(PRIOR, QUESTIONS, arms(4)))
    requests = asked(PRIOR, QUESTIONS, arms(4))
    assert_true(llama, requests, engine.read(requests))


@pytest.mark.parametrize("memory", [1, 200_000, 10**9])
def test_any_budget_gives_the_same(memory: int) -> None:
    for name in ("llama", "falcon"):
        model = tiny_model(name)
        requests = asked(PRIOR * 3, QUESTIONS, arms(9))
        assert_true(model, requests, Engine(model, memory=memory).read(requests))


@pytest.mark.parametrize("fast", [True, False])
def test_a_failure_half_way_leaves_the_model_and_what_is_kept_as_they_were(fast: bool) -> None:
    model = tiny_model("llama")
    engine = Engine(model, fast=fast)
    before = hooks_and_patches(model)
    requests = asked(PRIOR, QUESTIONS, arms(2))
    readings = engine.read(requests)

    def explode(*_: object) -> None:
        raise RuntimeError("in the middle")

    for others in (asked(PRIOR, [(1, 2)], requests[0].arms), asked(PRIOR, QUESTIONS, arms(2, seed=9))):
        bomb = model.model.layers[2].mlp.register_forward_hook(explode)
        with pytest.raises(RuntimeError, match="in the middle"):
            engine.read(others)
        bomb.remove()
        assert hooks_and_patches(model) == before
        for again, reading in zip(engine.read(requests), readings, strict=True):
            assert torch.equal(again.logprobs, reading.logprobs)


def test_one_bad_request_does_not_spoil_the_next_ones(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    good = asked(PRIOR, QUESTIONS, arms(2))
    with pytest.raises(InputError, match="token id 102: expected one of the model's 97"):
        engine.read([*good, *asked(PRIOR, [(VOCABULARY + 5,)], good[0].arms)])
    assert_true(llama, good, engine.read(good))


@pytest.mark.parametrize("fast", [True, False])
def test_a_cancelled_step_ends_between_two_blocks(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    engine = Engine(model, fast=fast)
    before = hooks_and_patches(model)
    ticks = 0

    class Cancelled(BaseException):
        pass

    def cancel() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 7:
            raise Cancelled

    monkeypatch.setattr(progress, "_cancellation", [cancel])
    requests = asked(PRIOR, QUESTIONS, arms(2))
    with pytest.raises(Cancelled):
        engine.read(requests)
    assert hooks_and_patches(model) == before
    assert_true(model, requests, engine.read(requests))


def test_fused_attention_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")

    def wrong(*given: Any) -> tuple[Tensor, Tensor]:
        output, lse = cascade.step_by_step(*given)
        return output, lse * 1.5

    def absent(*_: Any) -> tuple[Tensor, Tensor]:
        raise AttributeError("no such operator")

    reasons = (
        "not with fused attention: moves log-probabilities by",
        "not with fused attention: AttributeError: no such",
    )
    for broken, reason in zip((wrong, absent), reasons, strict=True):
        monkeypatch.setitem(cascade._FUSED, "cpu", broken)
        engine = Engine(model)
        assert engine.notes["path"].startswith(
            "fast: shared prior turns, token tries, attention in plain steps; not with"
        )
        assert reason in engine.notes["path"]
        requests = asked(PRIOR, QUESTIONS, arms(3))
        assert_true(model, requests, engine.read(requests))


@given(tokens=st.integers(1, 50), groups=st.integers(1, 3))
def test_masks_are_laid_out_as_the_fused_kernel_for_cuda_wants_them(tokens: int, groups: int) -> None:
    visible = chain(range(tokens)).visible
    mask = cascade._additive(visible, groups, torch.zeros(1))
    assert mask.stride(0) % 16 == 0
    assert torch.equal(mask == 0, visible.repeat(groups, 1))


@given(length=st.integers(1, 2000), size=st.integers(1, 2000))
def test_a_prior_turn_is_cut_into_as_few_equal_pieces_as_fit(llama: PreTrainedModel, length: int, size: int) -> None:
    text = pieces.PriorTurn(tuple(range(length)), Weights(llama))
    begins = [0]
    while begins[-1] < length:
        begins.append(text.piece(begins[-1], size).end)
    sizes = [stop - start for start, stop in pairwise(begins)]
    most = min(size, pieces.CHAIN_TOKENS)
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-length // most)


def test_attention_with_a_position_bias_is_refused() -> None:
    query = torch.ones(1, 2, 3, 4)
    with pytest.raises(InputError, match=r"position bias of shape \(1, 2, 3, 3\): expected attention without one"):
        cascade._cascade(torch.nn.Identity(), query, query, query, position_bias=torch.zeros(1, 2, 3, 3))


def test_a_fast_path_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(cascade.AttentionOfPass, "_trie_mask", lambda *_: None)
    engine = Engine(model)
    assert engine.notes["path"].startswith("plain: question by question; not with attention in plain steps: moves ")
    requests = asked(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))


def test_a_model_that_cannot_begin_half_way_takes_the_plain_path() -> None:
    model = tiny_model("llama")

    def note_batch(_module: torch.nn.Module, args: tuple[Tensor]) -> None:
        model.batch = args[0].shape[0]

    def same_batch(_module: torch.nn.Module, args: tuple[Tensor], kwargs: dict[str, Any]) -> None:
        if args[0].shape[0] != model.batch:
            raise RuntimeError("another batch than the embeddings had")

    model.model.embed_tokens.register_forward_pre_hook(note_batch)
    model.model.layers[3].register_forward_pre_hook(same_batch, with_kwargs=True)
    engine = Engine(model)
    assert (
        "plain: question by question; not with attention in plain steps: RuntimeError: another batch"
        in engine.notes["path"]
    )
    requests = asked(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))


def test_bfloat16_models_are_read_in_float32() -> None:
    rounded = tiny_model("llama").bfloat16()
    engine = Engine(rounded)
    assert engine.notes["readout"].startswith("float32")
    assert engine.notes["path"].startswith("fast")
    request = asked(PRIOR, [(7, 8)], None)[0]
    (reading,) = engine.read([request])
    assert reading.logprobs.dtype == torch.float32
    torch.testing.assert_close(reading.logprobs, truth(rounded, request), atol=0.5, rtol=0)
    gap = reading.logprobs[0, 4] - reading.logprobs[0, 5]  # on bfloat16 logits, a multiple of their rounding step
    assert gap != gap.bfloat16().float()


def test_a_readout_that_disagrees_falls_back_to_the_models_own_logits() -> None:
    model = tiny_model("llama")
    model.lm_head.register_forward_hook(lambda _m, _a, logits: logits * 0.5)  # a scaling that no configuration tells of
    engine = Engine(model)
    assert engine.notes["readout"].startswith("the model's own logits, upcast to float32 (differs")
    assert "needs the float32 readout" in engine.notes["path"]
    requests = asked(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))
    with pytest.raises(InputError, match="logit lens: only the model's own logits"):
        engine.read(asked(PRIOR, QUESTIONS, None, Want(lens=True)))


class Int8Linear(torch.nn.Module):
    """Weights in int8 with a scale for each row, as weight-only quantisation keeps them."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("quantised", (linear.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, values: Tensor) -> Tensor:
        return torch.nn.functional.linear(values, self.quantised * self.scale)


@pytest.mark.parametrize("with_unembedding", [False, True])
def test_quantised_linears_are_right(with_unembedding: bool) -> None:
    model = tiny_model("llama")
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Linear) and (name != "lm_head" or with_unembedding):
                setattr(parent, name, Int8Linear(child))
    engine = Engine(model)
    assert engine.notes["path"].startswith("plain" if with_unembedding else "fast")
    assert ("unembedding of type Int8Linear" in engine.notes["readout"]) == with_unembedding
    requests = asked(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))


def test_weights_on_several_devices(tmp_path: Any) -> None:
    from accelerate import dispatch_model

    model = tiny_model("llama")
    requests = asked(PRIOR, QUESTIONS, arms(3))
    expected = [truth(model, request) for request in requests]
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {f"model.layers.{block}": "disk" if block % 2 else "cpu" for block in range(4)}
    dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    engine = Engine(model)
    assert engine.notes["path"].startswith("fast")
    for wanted, reading in zip(expected, engine.read(requests), strict=True):
        torch.testing.assert_close(reading.logprobs, wanted, atol=1e-4, rtol=0)
    assert all("forward" in vars(layer) for layer in model.model.layers), "accelerate's own patches are still there"


def test_a_model_whose_cache_gives_something_else_is_refused() -> None:
    model = tiny_model("llama")

    def forget(_module: torch.nn.Module, _args: object, kwargs: dict[str, Any]) -> tuple[object, dict[str, Any]]:
        cached = kwargs.get("past_key_values")
        if cached is not None and cached.get_seq_length(2):
            kwargs["position_ids"] = kwargs["position_ids"] * 0
            kwargs["position_embeddings"] = tuple(part * 0.5 for part in kwargs["position_embeddings"])
        return _args, kwargs

    model.model.layers[2].register_forward_pre_hook(forget, with_kwargs=True)
    with pytest.raises(InputError, match="a cache fill and a question do not give what one forward pass gives"):
        Engine(model)


def test_models_without_a_kv_cache_are_refused() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM, MambaConfig, MambaForCausalLM

    recurrent = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(InputError, match=r"mamba: keeps a recurrent state; expected a KV cache"):
        Engine(recurrent)
    config = Lfm2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, layer_types=["conv", "full_attention"]
    )
    with pytest.raises(InputError, match=r"lfm2: has blocks of type conv; expected attention with a KV cache"):
        Engine(Lfm2ForCausalLM(config))


def test_conversations_beyond_the_positions_are_refused() -> None:
    engine = Engine(tiny_model("gpt2"))
    with pytest.raises(InputError, match="conversation of 131 tokens: expected at most 128"):
        engine.read(asked(PRIOR * 13, [(1,)], None))
    engine.model.config.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 64}
    with pytest.raises(InputError, match="conversation of 71 tokens: expected at most 64"):
        engine.read(asked(PRIOR * 7, [(1,)], None))
