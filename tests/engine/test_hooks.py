"""Hooks on the residual stream: what they add, replace and show, and that they are taken off."""

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from engine_requests import PRIOR, arms, hooks_and_patches
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import (
    before_each,
    entering,
    forking,
    input_of,
    looking_at,
    returns_tuples,
    skipping,
    steering,
    steering_arms,
)
from introbench.errors import InputError
from introbench.validation.tiny_models import tiny_model


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


TOKENS = torch.tensor([[5, 9, 33, 2]])
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def after_blocks(model: PreTrainedModel, *contexts: Any, rows: int = 1) -> list[Tensor]:
    """The residual stream after every block, under some hooks."""
    layers = find_parts(model).layers
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        seen = stack.enter_context(looking_at(layers, range(4), range(TOKENS.shape[1])))
        model(TOKENS.expand(rows, -1), use_cache=False)
    return [seen[block] for block in range(4)]


def test_zeros_leave_every_residual_as_it_was(llama: PreTrainedModel) -> None:
    layers = find_parts(llama).layers
    for clean, steered in zip(
        after_blocks(llama), after_blocks(llama, steering(layers, {1: torch.zeros(1, 32)})), strict=True
    ):
        assert torch.equal(clean, steered)


def test_each_position_gets_its_share(llama: PreTrainedModel) -> None:
    layers, shares = find_parts(llama).layers, torch.tensor([[0.0, 1.0, 0.5, -2.0]])
    steered = after_blocks(llama, steering(layers, {1: VECTOR[None]}, profile=shares))[1]
    assert torch.equal(steered, after_blocks(llama)[1] + shares[:, :, None] * VECTOR)


def test_a_pass_enters_a_block_with_another_residual(llama: PreTrainedModel) -> None:
    layers = find_parts(llama).layers
    clean = after_blocks(llama)
    entered = after_blocks(llama, entering(layers[2], clean[1] + VECTOR, 1))
    assert torch.equal(entered[1], clean[1])
    assert torch.equal(entered[3], after_blocks(llama, steering(layers, {1: VECTOR[None]}))[3])


def test_rows_fork_at_a_blocks_output(llama: PreTrainedModel) -> None:
    layers = find_parts(llama).layers
    origins = torch.tensor([0, 0, 1])
    two = {0: torch.stack([torch.zeros(32), VECTOR])}
    forked = after_blocks(llama, steering(layers, two), forking(layers[1], origins), rows=2)
    apart = after_blocks(llama, steering(layers, two), rows=2)
    assert [len(residual) for residual in forked] == [2, 3, 3, 3]
    torch.testing.assert_close(forked[3], apart[3][origins])


def test_arms_fork_where_they_part(llama: PreTrainedModel) -> None:
    layers = find_parts(llama).layers
    nothing = torch.zeros(32)
    deltas = {1: torch.stack([nothing, VECTOR, VECTOR]), 2: torch.stack([nothing, VECTOR, nothing])}
    forks = Arms.steered(deltas).forks
    together = after_blocks(llama, steering_arms(layers, range(4), forks, deltas, None))
    apart = after_blocks(llama, steering(layers, deltas), rows=3)
    assert [len(residual) for residual in together] == [1, 2, 3, 3]
    for block in range(4):
        torch.testing.assert_close(forks.spread(block, together[block]), apart[block])


@pytest.mark.parametrize("architecture", ["llama", "falcon"])
def test_skipped_blocks_hand_on_their_input(architecture: str) -> None:
    model = tiny_model(architecture)
    parts = find_parts(model)
    as_tuples = returns_tuples(parts.decoder, parts.layers[0], parts.device)
    skipped = after_blocks(model, skipping([parts.layers[1], parts.layers[2]], as_tuples))
    parts.layers[1].forward = before = parts.layers[1].forward  # as accelerate patches a block
    with skipping([parts.layers[1]], as_tuples):
        assert parts.layers[1].forward is not before
    assert parts.layers[1].forward is before
    with input_of(parts.layers[3]) as inputs:
        after_blocks(model, skipping([parts.layers[1], parts.layers[2]], as_tuples))
    assert torch.equal(inputs[0], skipped[0])


def test_a_function_is_called_before_every_block(llama: PreTrainedModel) -> None:
    calls: list[int] = []
    after_blocks(llama, before_each(find_parts(llama).layers[1:], calls.append), rows=3)
    assert calls == [3 * 4] * 3


def test_no_hook_stays_after_an_error(llama: PreTrainedModel) -> None:
    layers = find_parts(llama).layers
    before = hooks_and_patches(llama)
    contexts = [
        steering(layers, {1: VECTOR[None]}),
        entering(layers[1], torch.zeros(1, 4, 32), 1),
        forking(layers[2], torch.tensor([0])),
        skipping([layers[3]], as_tuples=False),
        before_each(layers, lambda _: None),
        looking_at(layers, [0], [0]),
        input_of(layers[1]),
    ]
    for context in contexts:
        with pytest.raises(RuntimeError, match="in between"), context:
            raise RuntimeError("in between")
    assert hooks_and_patches(llama) == before


def test_an_output_that_is_no_residual_stream_is_refused() -> None:
    layer = torch.nn.Linear(4, 4)
    with steering([layer], {0: torch.zeros(1, 4)}), pytest.raises(InputError, match=r"output of shape \(2, 4\)"):
        layer(torch.zeros(2, 4))
