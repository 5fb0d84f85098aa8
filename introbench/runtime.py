"""One loaded model with everything that answers trials: engine, vectors, and what was already computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from introbench import data
from introbench.chat import Chat, answer_token
from introbench.checkpoint import Checkpoint, weights_fingerprint
from introbench.engine import Arms, Engine, Reading, Request, Want
from introbench.engine.memory import parse_budget
from introbench.injection import Injection
from introbench.progress import heartbeat, tell
from introbench.vectors import VectorLibrary

Rows = tuple[Injection, ...]
"""The injections that share a batch, row by row."""

_REMEMBERED_READINGS = 4096


@dataclass(frozen=True)
class Asked:
    """One question: a conversation and what to read after it.

    Attributes:
        chat: The conversation.
        want: What to read.
    """

    chat: Chat
    want: Want


class Runtime:
    """Answers trials on one model; every method may take long and belongs in a worker thread.

    Args:
        checkpoint: Which model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer = checkpoint.tokenizer
        with heartbeat(f"loading {checkpoint.name}"):
            model = checkpoint.load()
            self.engine = Engine(model, parse_budget(checkpoint.memory))
            self.fingerprint = weights_fingerprint(model)
        self.library = VectorLibrary(self.engine, self.tokenizer, self.fingerprint, data.openings())
        self._facts = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "attention": str(model.config._attn_implementation),
            "weights": self.fingerprint[:16],
            **self.engine.notes,
        }
        tell(f"{checkpoint.name} is ready: {self._facts['dtype']} on {self._facts['device']}")
        for what, note in self.engine.notes.items():
            tell(f"{what}: {note}")
        self._arms: dict[Rows, Arms] = {}
        self._readings: dict[tuple[Asked, Rows], Reading] = {}

    @property
    def facts(self) -> dict[str, str]:
        """How numbers are computed, for the log."""
        reductions = self.engine.reductions
        if not reductions:
            return self._facts
        return self._facts | {"memory": f"ran out {reductions} times; batches were cut each time"}

    def read(self, asked: Asked, bank: Rows, together: Callable[[], Sequence[Asked]] = lambda: ()) -> Reading:
        """Ask one question under every arm of a bank.

        Args:
            asked: The question.
            bank: The arms, in batch order.
            together: The questions that are always run as one with it, so that its numbers do not depend on which
                happen to wait at the same time.
        """
        known = self.known(asked, bank)
        if known is not None:
            return known
        several = list(dict.fromkeys([*together(), asked]))
        prior = asked.chat.prior
        with heartbeat(f"{len(several)} questions on a prior turn of {prior} tokens under {len(bank)} arms"):
            arms = self._bank_arms(bank)
            readings = self.engine.read(
                [Request(each.chat.tokens, each.chat.prior, each.want, arms) for each in several]
            )
        for each, reading in zip(several, readings, strict=True):
            self._readings[each, bank] = reading
        while len(self._readings) > _REMEMBERED_READINGS:
            del self._readings[next(iter(self._readings))]
        return self._readings[asked, bank]

    def known(self, asked: Asked, bank: Rows) -> Reading | None:
        """What a question gave under a bank if it has been asked lately; safe to call while `read` runs."""
        return self._readings.get((asked, bank))

    def strength(self, injection: Injection) -> float:
        """The norm of what an injection adds at each layer."""
        scale = self.library.residual_norm(injection.layers) if injection.relative else 1.0
        return injection.strength * scale

    def _bank_arms(self, bank: Rows) -> Arms:
        """What is added at each layer, one row per arm."""
        if bank not in self._arms:
            layers = sorted({layer for injection in bank for layer in range(*injection.layers)})
            deltas = {layer: torch.zeros(len(bank), self.engine.hidden_size) for layer in layers}
            for row, injection in enumerate(bank):
                if injection.vector is None:
                    continue
                directions, strength = self.library.directions(injection.vector), self.strength(injection)
                for layer in range(*injection.layers):
                    deltas[layer][row] = strength * directions[layer]
            self._arms[bank] = Arms.steered(deltas)
        return self._arms[bank]


def form_tokens(
    tokenizer: Any, chat: Chat, pairs: Sequence[Sequence[str]]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[str]]:
    """Which answer forms can be read after a chat's prefill.

    Args:
        tokenizer: The model's tokenizer.
        chat: The conversation.
        pairs: Yes form and no form of the same shape.

    Returns:
        Yes forms and no forms with their token ids (a pair is kept whole or not at all, each token once), and the
        forms that were left out.
    """
    yes: list[tuple[str, int]] = []
    no: list[tuple[str, int]] = []
    left_out: list[str] = []
    for pair in pairs:
        yes_token, no_token = (answer_token(tokenizer, chat, form) for form in pair)
        taken = {token for _, token in yes + no}
        if yes_token is None or no_token is None or yes_token == no_token or taken & {yes_token, no_token}:
            left_out.extend(pair)
            continue
        yes.append((pair[0], yes_token))
        no.append((pair[1], no_token))
    return yes, no, left_out
