"""The engine: requests in, readings out, by the fastest path that has proved itself on the loaded model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.continuation import Continuation, continue_chat
from introbench.engine.kernels import Kernels, candidates
from introbench.engine.memory import PassSize, default_budget, token_bytes
from introbench.engine.packed_path import FastPath
from introbench.engine.plan import EndStates, plan
from introbench.engine.products import bytes_of_copies, ranking
from introbench.engine.proof import proven_path, proven_readout
from introbench.engine.readout import LOGITS_BYTES, summarise
from introbench.engine.requests import Arms, Deltas, Reading, Request, Tokens, Want
from introbench.engine.weights import Weights
from introbench.errors import InputError

FASTEST_PASS = {"cpu": 1536}
"""Most tokens of all rows in a forward pass, by type of device; more are no faster and only take memory."""

_FASTEST_PASS_ELSEWHERE = 16_384

COPIES_SHARE = 4
"""Copies of weights may take one part in so many of the memory."""

_Wants = Mapping[Want, list[int]]
"""What to read of one question, and the indices of the requests that ask for it."""


class Engine:
    """Runs one model.

    Args:
        model: A decoder-only transformers model, or one of its sets of weights.
        memory: Bytes that forward passes and their caches may take; by default half of the device's memory.
        fast: Whether the fast path may be used at all.
        products: The kind of products in linear maps, a key of `products.PRODUCTS`; None for the fastest.

    Attributes:
        readout: The final norm and unembedding in float32, or None where they do not give the model's own logits.
        notes: How numbers are computed: a line each on the `readout`, the `path` and, where it is fast, the `products`.

    Raises:
        InputError: The architecture is not supported.
    """

    def __init__(
        self,
        model: PreTrainedModel | Weights,
        memory: int | None = None,
        fast: bool = True,
        products: str | None = None,
    ) -> None:
        self.weights = model if isinstance(model, Weights) else Weights(model)
        self.model, self.parts = self.weights.model, self.weights.parts
        self._memory = memory or default_budget(self.parts.device)
        self.readout, on_readout = proven_readout(self.weights)
        self.notes = {"readout": on_readout}
        kernels: Sequence[Kernels] = ()
        if fast and self.readout is not None:
            layers = self.parts.layers
            ranked = ranking(self.parts.device, self.model.dtype, layers, self._memory // COPIES_SHARE, products)
            kernels = candidates(ranked.products)
            self.notes["products"] = ranked.note
        self._path, self.notes["path"] = proven_path(
            self.weights, self.readout, self._fast_path if fast else None, kernels
        )
        if not isinstance(self._path, FastPath):
            self.notes.pop("products", None)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.parts.layers)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def reductions(self) -> int:
        """How often memory ran out, so that a batch was cut."""
        return self._path.reductions

    def read(self, requests: Sequence[Request]) -> list[Reading]:
        """Answer requests, in any number and order; what requests have in common is computed once.

        Args:
            requests: Conversations under arms; see `Request`.

        Returns:
            One reading per request, in their order.

        Raises:
            InputError: A conversation is longer than the model's positions or has ids that are no tokens of it, or its
                lens cannot be read.
        """
        self._refuse(requests)
        waiting: dict[tuple[Tokens, Arms | None, Tokens], dict[Want, list[int]]] = {}
        for index, request in enumerate(requests):
            wants = waiting.setdefault((request.prior_tokens, request.arms, request.question), {})
            wants.setdefault(request.want, []).append(index)
        readings: dict[int, Reading] = {}
        for job in plan(requests):
            for states in self._path.run(job):
                wants_of = [waiting[job.prior, states.arms, question] for question in states.questions]
                readings |= self._readings(states, wants_of)
        return [readings[index] for index in range(len(requests))]

    def continue_chat(
        self,
        prompt: Tokens,
        deltas: Deltas,
        seeds: Sequence[int],
        *,
        length: int,
        temperature: float,
        end: Collection[int],
    ) -> list[Continuation]:
        """Continue a chat under active steering, one text per row; see `introbench.engine.continuation`.

        Raises:
            InputError: The chat with its continuation is longer than the model's positions.
        """
        self._refuse([Request((*prompt, *[prompt[0]] * length), 1, Want())])
        return continue_chat(
            self.weights,
            self.readout,
            prompt,
            deltas,
            seeds,
            length=length,
            temperature=temperature,
            end=end,
            memory=self._memory,
        )

    def release(self) -> None:
        """Let go of the caches that are kept for more requests on the same prior turn."""
        self._path.release()

    @torch.inference_mode()
    def _readings(self, states: EndStates, wants_of: Sequence[_Wants]) -> dict[int, Reading]:
        """Reduce states to readings, by index of the request, a few questions at a time."""
        readings: dict[int, Reading] = {}
        for begin, logits in self._logits(states):
            asked = list(enumerate(wants_of[begin : begin + logits.shape[1]], start=begin))
            lenses = self._lenses(states, [(place, want) for place, wants in asked for want in wants if want.lens])
            for place, wants in asked:
                for want, indices in wants.items():
                    reading = summarise(logits[:, place - begin], want)
                    if want.lens:
                        reading = replace(reading, lens=torch.stack([*lenses[place, want], reading.logprobs]))
                    if want.residuals:
                        residuals = [states.residuals[block][:, place].float().cpu() for block in range(self.n_layers)]
                        reading = replace(reading, residuals=torch.stack(residuals))
                    readings |= dict.fromkeys(indices, reading)
        return readings

    def _logits(self, states: EndStates) -> Iterator[tuple[int, Tensor]]:
        """Float32 logits [rows, questions, vocabulary] of a few questions at a time, with the index of their first."""
        if self.readout is None:
            assert states.logits is not None
            yield 0, states.logits
            return
        last = states.residuals[self.n_layers - 1]
        size = max(1, LOGITS_BYTES // (4 * last.shape[0] * self.model.config.get_text_config().vocab_size))
        for begin in range(0, last.shape[1], size):
            yield begin, self.readout(last[:, begin : begin + size])

    def _lenses(self, states: EndStates, wanted: Sequence[tuple[int, Want]]) -> dict[tuple[int, Want], list[Tensor]]:
        """Log-probabilities of wanted tokens by the logit lens after every block but the last, [rows, tokens] each.

        Args:
            states: The states at the ends of questions.
            wanted: Places of questions among these, and what to read there; one product reads a block for all of them.
        """
        lenses: dict[tuple[int, Want], list[Tensor]] = {each: [] for each in wanted}
        places = sorted({place for place, _ in wanted})
        if self.readout is None or not places:
            return lenses
        for block in range(self.n_layers - 1):
            residual = states.residuals[block]
            # Below the first steered block one row stands for all: it is read once, so all stay equal bit for bit.
            distinct = residual[:1] if residual.stride(0) == 0 else residual
            logits = self.readout(distinct[:, places])
            for place, want in wanted:
                of_place = summarise(logits[:, places.index(place)], Want(want.tokens))
                lenses[place, want].append(of_place.logprobs.expand(len(residual), -1))
        return lenses

    def _refuse(self, requests: Sequence[Request]) -> None:
        """Refuse requests that the model cannot answer; see `read`."""
        config: Any = self.model.config.get_text_config()
        longest = max((len(request.tokens) for request in requests), default=0)
        positions = getattr(config, "max_position_embeddings", None)
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") in ("dynamic", "longrope"):
            # Beyond these the encoding of all positions changes, so that a cache that is filled already would be wrong.
            positions = rope.get("original_max_position_embeddings") or positions
        if positions and longest > positions:
            raise InputError(
                f"conversation of {longest} tokens: expected at most {positions} with this model's position encoding; "
                f"shorten the document, or choose another model"
            )
        embeddings: Any = self.parts.embeddings
        vocabulary = embeddings.weight.shape[0]
        for token in {token for request in requests for token in request.tokens}:
            if not 0 <= token < vocabulary:
                raise InputError(
                    f"token id {token}: expected one of the model's {vocabulary}; use the model's tokenizer"
                )
        if self.readout is None and any(request.want.lens for request in requests):
            raise InputError(
                f"logit lens: only {self.notes['readout']} can be read; choose another model, or pass -T lens=false "
                f"where the task is model_swap"
            )

    def _fast_path(self, pass_tokens: int | None, kernels: Kernels) -> FastPath:
        fastest = pass_tokens or FASTEST_PASS.get(self.parts.device.type, _FASTEST_PASS_ELSEWHERE)
        memory = max(1, self._memory - bytes_of_copies(kernels.products, self.parts.layers))
        pass_size = PassSize(token_bytes(self.model), memory // 2, fastest)
        return FastPath(self.weights, pass_size, keys_bytes=memory // 2, kernels=kernels)
