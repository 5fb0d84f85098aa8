"""One loaded model with everything that answers trials: engine, vectors, and what was already computed."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from introbench import data
from introbench.chat import Chat, answer_token
from introbench.checkpoint import Checkpoint, weights_fingerprint
from introbench.engine import Engine, Fill
from introbench.injection import Injection
from introbench.progress import heartbeat, tell
from introbench.vectors import VectorLibrary

Rows = tuple[Injection, ...]
"""The injections that share a batch, row by row."""

_REMEMBERED_READINGS = 1024


@dataclass(frozen=True)
class Readings:
    """What one question gave under every arm of a bank.

    Attributes:
        forms: Log-probabilities of the answer forms, float32 [rows, forms].
        top_ids: The most likely tokens, [rows, top].
        top_logprobs: Their log-probabilities, float32 [rows, top].
        finite: Whether a row's numbers are all finite.
    """

    forms: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    finite: list[bool]


class Runtime:
    """Answers trials on one model; every method may take long and belongs in a worker thread.

    Args:
        checkpoint: Which model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer = checkpoint.tokenizer
        with heartbeat(f"loading {checkpoint.name}"):
            model = checkpoint.load()
            self.engine = Engine(model)
            self.fingerprint = weights_fingerprint(model)
        self.library = VectorLibrary(self.engine, self.tokenizer, self.fingerprint, data.openings())
        self.facts = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "attention": str(model.config._attn_implementation),
            "readout": self.engine.readout_note,
            "sharing": self.engine.sharing_note,
            "weights": self.fingerprint[:16],
        }
        tell(f"{checkpoint.name} is ready: {self.facts['dtype']} on {self.facts['device']}")
        tell(f"readout: {self.engine.readout_note}; {self.engine.sharing_note}")
        self._deltas: dict[Rows, dict[int, Tensor]] = {}
        self._fill: tuple[tuple[Sequence[int], Rows], Fill] | None = None
        self._readings: OrderedDict[Any, Readings] = OrderedDict()

    def read(self, chat: Chat, bank: Rows, forms: Sequence[int], top: int) -> Readings:
        """Ask one question under every arm of a bank.

        Args:
            chat: The conversation.
            bank: The arms, in batch order.
            forms: Token ids of the answer forms.
            top: How many of the most likely tokens to report.
        """
        key = (chat.tokens, chat.prior, bank, tuple(forms), top)
        if key in self._readings:
            self._readings.move_to_end(key)
            return self._readings[key]
        logprobs = self.engine.read(self._filled(chat.prior_tokens, bank), chat.question_tokens)
        best = logprobs.nan_to_num(nan=-torch.inf).topk(top, dim=-1)
        of_forms = logprobs[:, list(forms)]
        # A form of probability 0 has no finite log-odds, so its row is as useless as one with NaN.
        finite = logprobs.isnan().any(dim=-1).logical_not() & of_forms.isfinite().all(dim=-1)
        readings = Readings(
            forms=of_forms,
            top_ids=best.indices,
            top_logprobs=best.values,
            finite=finite.tolist(),
        )
        self._readings[key] = readings
        if len(self._readings) > _REMEMBERED_READINGS:
            self._readings.popitem(last=False)
        return readings

    def strength(self, injection: Injection) -> float:
        """The norm of what an injection adds at each layer."""
        scale = self.library.residual_norm(injection.layers) if injection.relative else 1.0
        return injection.strength * scale

    def _filled(self, prior: Sequence[int], bank: Rows) -> Fill:
        """The prior turn's cache under every arm; the latest one is kept, and trials come ordered by prior turn."""
        if self._fill is None or self._fill[0] != (prior, bank):
            self._fill = None  # free the old cache before the new one is made
            self._fill = ((prior, bank), self.engine.fill(prior, self._bank_deltas(bank), rows=len(bank)))
        return self._fill[1]

    def _bank_deltas(self, bank: Rows) -> Mapping[int, Tensor]:
        """What is added at each layer, one row per arm."""
        if bank not in self._deltas:
            layers = sorted({layer for injection in bank for layer in range(*injection.layers)})
            hidden = self.engine.model.config.get_text_config().hidden_size
            deltas = {layer: torch.zeros(len(bank), hidden) for layer in layers}
            for row, injection in enumerate(bank):
                if injection.vector is None:
                    continue
                directions, strength = self.library.directions(injection.vector), self.strength(injection)
                for layer in range(*injection.layers):
                    deltas[layer][row] = strength * directions[layer]
            self._deltas[bank] = deltas
        return self._deltas[bank]


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
