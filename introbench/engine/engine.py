"""The engine: requests in, readings out. Where the tokens are run is a path's business."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from introbench.engine.continuation import Continuation
from introbench.engine.plan import EndStates, Job, plan
from introbench.engine.readout import LOGITS_BYTES, Readout, summarise
from introbench.engine.requests import Arms, Deltas, Reading, Request, Tokens, Want
from introbench.engine.weights import Weights
from introbench.engine.windows import EVERYWHERE, Window
from introbench.errors import InputError

_Wants = Mapping[Want, list[int]]
"""What to read of one question, and the indices of the requests that ask for it."""


class Path(Protocol):
    """Runs the questions of a prior turn under arms."""

    @property
    def reductions(self) -> int:
        """How often memory ran out, so that a batch was cut."""
        ...

    def run(self, job: Job) -> Iterator[EndStates]:
        """The model's states at the ends of a job's questions, all of them or some at a time."""
        ...

    def keeping(self) -> AbstractContextManager[None]:
        """Afterwards go on with what is kept now, whatever is read or released in between."""
        ...

    def release(self) -> None:
        """Let go of everything that is kept for later jobs."""
        ...


class Engine(ABC):
    """Runs one model.

    Args:
        weights: The model, or one of its sets of weights: as much of it as this process has.
        readout: The final norm and unembedding in float32, or None where they do not give the model's own logits.

    Attributes:
        weights: See above.
        model: The model of these weights.
        parts: Its parts.
        readout: See above.
        notes: How numbers are computed, for the log: at least a line each on the `readout` and the `path`.
    """

    _path: Path

    def __init__(self, weights: Weights, readout: Readout | None) -> None:
        self.weights, self.readout = weights, readout
        self.model, self.parts = weights.model, weights.parts
        self.notes: dict[str, str] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the blocks are run."""
        return self.model.dtype

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.parts.layers)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def has_failed(self) -> bool:
        """Whether what runs the model is gone, so that another engine has to be started."""
        return False

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
        self.refuse(requests)
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

    @abstractmethod
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

        Raises:
            InputError: The chat with its continuation is longer than the model's positions.
        """

    def close(self) -> None:
        """Let go of everything; the engine cannot be used any more."""
        self.release()

    def keeping(self) -> AbstractContextManager[None]:
        """Afterwards go on with the caches that are kept now, whatever is read or released in between."""
        return self._path.keeping()

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

    def refuse(self, requests: Sequence[Request]) -> None:
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
