"""Runs the questions of a prior turn under arms on a vLLM server: every question and distinct arm is one request."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from introbench.engine.plan import EndStates, Job
from introbench.engine.requests import Arms
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.request import ServerRequest


class Steering(NamedTuple):
    """What is added to one row of a conversation.

    Attributes:
        additions: Block index to what is added to the block's output, float32 [terms, hidden].
        shares: The share of each term that a token gets, float32 [terms, tokens].
    """

    additions: Mapping[int, Tensor]
    shares: Tensor


class Check(Protocol):
    """Something to be asked of a server between jobs."""

    def ask(self, client: ServerClient) -> None:
        """Raise an error if the server is not what it was."""
        ...


class ServerPath:
    """Runs jobs on a server.

    Args:
        client: The server.
        n_layers: Number of its model's decoder blocks.
        check: Asked after each batch of arms, before its numbers are used.

    Attributes:
        reductions: Always 0: a server cuts its batches itself.
    """

    def __init__(self, client: ServerClient, n_layers: int, check: Check) -> None:
        self._client, self._check = client, check
        self._n_layers = n_layers
        self.reductions = 0

    def run(self, job: Job) -> Iterator[EndStates]:
        """Ask all of a job's questions under one of its arms after the other."""
        for arms in job.arms:
            if arms is not None and arms.filler is not None:
                raise ValueError("other weights that fill the cache: a server has one set of weights")
            states = self._ask(job, arms)
            self._check.ask(self._client)
            yield states

    def keeping(self) -> AbstractContextManager[None]:
        """A server keeps nothing of ours."""
        return nullcontext()

    def release(self) -> None:
        """A server keeps nothing of ours."""

    def _ask(self, job: Job, arms: Arms | None) -> EndStates:
        blocks = range(0 if job.every_block else self._n_layers - 1, self._n_layers)
        requests: dict[tuple[int, str], ServerRequest] = {}
        of_rows: list[list[tuple[int, str]]] = []
        for row in range(arms.rows if arms else 1):
            keys = []
            for number, question in enumerate(job.questions):
                tokens = job.prior + question
                steering = steering_of(arms, row, len(job.prior), len(tokens))
                request = ServerRequest(
                    tokens, steering.additions, steering.shares, dict.fromkeys(blocks, (len(tokens) - 1,))
                )
                keys.append((number, request.steering_digest))
                requests.setdefault(keys[-1], request)
            of_rows.append(keys)
        states = dict(zip(requests, self._client.states(list(requests.values())), strict=True))
        residuals = {
            block: torch.stack([torch.cat([states[key].by_block[block] for key in keys]) for keys in of_rows])
            for block in blocks
        }
        return EndStates(arms, job.questions, residuals)


def steering_of(arms: Arms | None, row: int, prior: int, tokens: int) -> Steering:
    """What one of the arms adds to a conversation.

    Args:
        arms: The arms; None for nothing.
        row: Which of them.
        prior: Tokens of the prior turn.
        tokens: Tokens of the whole conversation.
    """
    if arms is None:
        return Steering({}, torch.zeros(0, tokens))
    in_prior = torch.zeros(tokens)
    in_prior[:prior] = 1.0 if arms.profile is None else arms.profile[row].float().cpu()
    terms = [
        (deltas, shares)
        for deltas, shares in ((arms.deltas, in_prior), (arms.question_deltas, 1.0 * (torch.arange(tokens) >= prior)))
        if any(delta[row].any() for delta in deltas.values()) and shares.any()
    ]
    blocks = sorted({block for deltas, _ in terms for block, delta in deltas.items() if delta[row].any()})
    nothing = next((torch.zeros_like(delta[row]) for deltas, _ in terms for delta in deltas.values()), torch.zeros(0))
    additions = {
        block: torch.stack([deltas[block][row] if block in deltas else nothing for deltas, _ in terms]).float().cpu()
        for block in blocks
    }
    return Steering(additions, torch.stack([shares for _, shares in terms]) if terms else torch.zeros(0, tokens))
