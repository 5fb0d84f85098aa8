"""Requests for the tests of the engine, and what one uncached forward pass gives for them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms, Reading, Request, Want
from introbench.engine.attention import attention_implementation
from introbench.engine.plain_path import one_forward
from introbench.engine.requests import Tokens
from introbench.engine.weights import Weights
from introbench.validation.tiny_models import VOCABULARY

PRIOR = (5, 9, 33, 2, 71, 18, 40, 11, 64, 3)
QUESTIONS: tuple[Tokens, ...] = ((7,), (7, 90, 4, 52), (7, 90), (8, 1), (7, 3, 3))
EVERYTHING = Want(tokens=tuple(range(VOCABULARY)), top=3)


def arms(rows: int, blocks: tuple[int, int] = (1, 3), scale: float = 1.0, seed: int = 1, hidden: int = 32) -> Arms:
    draw = torch.Generator().manual_seed(seed)
    return Arms.steered({block: scale * torch.randn(rows, hidden, generator=draw) for block in range(*blocks)})


def active(rows: int, blocks: tuple[int, int] = (1, 3), seed: int = 1) -> Arms:
    """Arms that are steered while the question is read too, and there by other vectors in other blocks."""
    in_prior, in_question = (
        arms(rows, blocks, seed=seed),
        arms(rows, (max(0, blocks[0] - 1), blocks[1]), seed=seed + 100),
    )
    return Arms.steered(in_prior.deltas, in_question.deltas)


def forking(rows: int, blocks: tuple[int, int] = (0, 4), seed: int = 1) -> Arms:
    """Arms that part from each other in different blocks, if at all: in the prior turn, or only in the question."""
    draw = torch.Generator().manual_seed(seed)

    def deltas() -> dict[int, Tensor]:
        vectors = torch.cat([torch.zeros(2, 32), torch.randn(1, 32, generator=draw)])
        return {block: vectors[torch.randint(0, 3, (rows,), generator=draw)] for block in range(*blocks)}

    return Arms.steered(deltas(), deltas())


def in_part(rows: int, blocks: tuple[int, int] = (1, 3), seed: int = 1) -> Arms:
    """Arms that steer tokens of the prior turn by different shares: 0, 1/2, 1, 3/2 or 2 times the vector."""
    shares = torch.randint(0, 5, (rows, len(PRIOR)), generator=torch.Generator().manual_seed(seed)) / 2
    return replace(arms(rows, blocks, seed=seed), profile=shares)


def requests_of(
    prior: Tokens, questions: Sequence[Tokens], batch: Arms | None, want: Want = EVERYTHING
) -> list[Request]:
    return [Request(prior + question, len(prior), want, batch) for question in questions]


def truth(model: PreTrainedModel, request: Request) -> Tensor:
    """Log-probabilities of the next token by one uncached forward pass, [rows, vocabulary]."""
    deltas = (request.arms.deltas, request.arms.question_deltas) if request.arms else ({}, {})
    profile = request.arms.profile if request.arms else None
    return one_forward(Weights(model), request.tokens, request.prior, *deltas, profile=profile)


def assert_true(model: PreTrainedModel, requests: Sequence[Request], readings: Sequence[Reading]) -> None:
    assert len(readings) == len(requests)
    for request, reading in zip(requests, readings, strict=True):
        expected = truth(model, request)[:, list(request.want.tokens)]
        torch.testing.assert_close(reading.logprobs, expected, atol=1e-4, rtol=0)


def hooks_and_patches(model: PreTrainedModel) -> list[Any]:
    """What the engine puts on a model for a pass, and has to take off again."""
    return [
        (len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module))
        for module in model.modules()
    ] + [attention_implementation(model)]
