"""The engine on a vLLM server: the server runs the blocks, this process reads their states in float32."""

import math
from collections.abc import Collection, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from introbench.engine.continuation import Continuation, refuse_options, token_logprobs
from introbench.engine.engine import Engine
from introbench.engine.readout import in_float64
from introbench.engine.requests import Arms, Deltas, Request, Tokens, Want
from introbench.engine.sampler import Sampler
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.path import ServerPath, steering_of
from introbench.engine.vllm.proof import proven_server
from introbench.engine.vllm.request import ServerRequest
from introbench.engine.weights import Weights
from introbench.engine.windows import EVERYWHERE, Window


class VllmEngine(Engine):
    """Runs one model on a vLLM server with the vllm-lens plugin.

    Nothing is read but the residual stream: log-probabilities, the logit lens and sampling are computed here, by the
    same float32 readout as on a model in this process. That needs the final norm and the unembedding of the model; the
    embeddings and the first block are there to recognise it.

    Args:
        weights: The embeddings, first blocks, final norm and unembedding of the model.
        client: The server.
        n_layers: Number of the model's decoder blocks.

    Attributes:
        client: The server.
        started: What was started for this engine, and ends with it.
        notes: A line each on the `readout`, the `path` and the `server`.

    Raises:
        InputError: The server gives other numbers than it should, and how far off they are.
    """

    def __init__(self, weights: Weights, client: ServerClient, n_layers: int) -> None:
        proven = proven_server(weights, client, n_layers)
        super().__init__(weights, proven.readout)
        self.notes |= proven.notes
        self._dtype, self._n_layers = proven.dtype, n_layers
        self.client = client
        self.started = ExitStack()
        self._path = ServerPath(client, n_layers, proven.canary)

    def close(self) -> None:
        """End what was started for this engine."""
        self.started.close()

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks on the server."""
        return self._n_layers

    @property
    def has_failed(self) -> bool:
        """Whether the server has failed."""
        return self.client.has_failed

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the server's residual stream."""
        return self._dtype

    def continue_chat(
        self,
        prompt: Tokens,
        deltas: Deltas,
        seeds: Sequence[int],
        *,
        length: int,
        temperature: float,
        end: Collection[int],
        window: Window = EVERYWHERE,
        scored: bool = True,
    ) -> list[Continuation]:
        """Continue a chat under steering, one text per row; see `introbench.engine.continuation`.

        Tokens are drawn here and not on the server, from the same noise as in a model in this process: the two write
        the same texts. So every token is a request of its own.

        Raises:
            InputError: The chat with its continuation is longer than the model's positions, or there is no such length
                or temperature.
        """
        refuse_options(length, temperature)
        self.refuse([Request((*prompt, *[prompt[0]] * length), 1, Want())])
        window.check(len(prompt))
        sampler = Sampler(seeds, temperature, end)
        arms, prior = window.arms(deltas, len(prompt)) if deltas else (None, len(prompt))
        for _ in range(length):
            rows = sampler.unfinished
            if not rows:
                break
            chats = [prompt + sampler.texts[row] for row in rows]
            last = self._last_states([(chat, arms, row, 1) for chat, row in zip(chats, rows, strict=True)], prior)
            sampler.add(rows, self._logits_at(torch.cat(last)))
        texts = sampler.texts
        if not scored:
            return [Continuation(text, math.nan, finite) for text, finite in zip(texts, sampler.finite, strict=True)]
        written = list(dict.fromkeys(filter(None, texts)))
        read = self._last_states([((prompt + text)[:-1], None, 0, len(text)) for text in written])
        means = {text: self._mean_logprob(text, states) for text, states in zip(written, read, strict=True)}
        return [
            Continuation(text, means.get(text, math.nan), finite)
            for text, finite in zip(texts, sampler.finite, strict=True)
        ]

    def _last_states(self, chats: Sequence[tuple[Tokens, Arms | None, int, int]], prior: int = 0) -> list[Tensor]:
        """The residual stream after the last block at the last tokens of chats, [last, hidden] each.

        Args:
            chats: Tokens, the arms and the row of them that is added, and how many tokens are read.
            prior: Tokens of the prior turn, as the arms take it.
        """
        block = self.n_layers - 1
        requests = []
        for tokens, arms, row, last in chats:
            added = steering_of(arms, row, prior, len(tokens))
            read = {block: range(len(tokens) - last, len(tokens))}
            requests.append(ServerRequest(tokens, added.additions, added.shares, read))
        return [states.by_block[block] for states in self.client.states(requests)]

    def _mean_logprob(self, text: Tokens, states: Tensor) -> float:
        """A text's mean log-probability, from the states at the tokens before its own."""
        return float(in_float64(token_logprobs(self._logits_at(states), torch.tensor(text))).mean())

    def _logits_at(self, states: Tensor) -> Tensor:
        assert self.readout is not None
        return self.readout(states)
