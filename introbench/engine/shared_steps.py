"""Writes many texts after one prompt, token by token, without computing what they share more than once.

What stands before the steered window is read as one row. From there on a row of the prompt stands for all texts that
are given the same, and forks where they are not (`forks`). Its keys are kept once and never copied: each step runs one
token of every text that goes on, and merges attention over the prompt's keys with attention over the text's own.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from introbench.engine.attention import Attention, AttentionOfPass, KeysAndValues, attending
from introbench.engine.hooks import before_each, looking_at, steering, steering_arms
from introbench.engine.readout import Readout
from introbench.engine.requests import NO_DELTAS, Arms, Deltas, Tokens
from introbench.engine.step_attention import AttentionOfStep, SharedPrompt
from introbench.engine.trie import chain
from introbench.engine.weights import Weights
from introbench.engine.windows import Window
from introbench.progress import tick

MOST_TOKENS = 1536
"""Tokens of all rows in a pass over the prompt; more are no faster."""


@dataclass(frozen=True)
class StepKernels:
    """What steps are computed by.

    Attributes:
        fused_attention: Whether to use the device's fused attention.
        linear_maps: A context in which linear maps are computed.
    """

    fused_attention: bool
    linear_maps: AbstractContextManager[object]


class SharedSteps:
    """The texts of some rows; `begin` reads the prompt, and each `go_on` takes one more token of some of them.

    Args:
        weights: The model.
        readout: Reads logits in float32.
        kernels: What to compute by.
        prompt: Token ids of the chat.
        window: The tokens that are steered.
        deltas: Block index to what is added to its output there, float32 [rows, hidden].
        rows: Number of texts.
        length: Most tokens of a text.
    """

    def __init__(
        self,
        weights: Weights,
        readout: Readout,
        kernels: StepKernels,
        prompt: Tokens,
        window: Window,
        deltas: Deltas,
        rows: int,
        length: int,
    ) -> None:
        self._weights = weights
        self._readout = readout
        self._kernels = kernels
        self._prompt = prompt
        self._window = window
        self._deltas = deltas or {0: torch.zeros(rows, weights.model.config.get_text_config().hidden_size)}
        self._arms = Arms.steered(self._deltas)
        self._own = KeysAndValues(length)
        self._texts = list(range(rows))
        self._written = 0
        self._shared: SharedPrompt | None = None
        self._steered = self._deltas

    def begin(self) -> Tensor:
        """Read the prompt; returns the logits of every text's first token, float32 [rows, vocabulary]."""
        size, forks = len(self._prompt), self._arms.forks
        keys = KeysAndValues(size)
        last = torch.empty(0)
        for begin, end, is_steered in self._window.parts(size):
            if begin == 0 and not is_steered and end < size:
                keys = self._fork_keys(self._read_as_one(end), end)
                continue
            at_once = max(1, MOST_TOKENS // self._arms.rows)
            for start in range(begin, end, at_once):
                stop = min(start + at_once, end)
                last = self._read(start, stop, keys, self._deltas if is_steered else NO_DELTAS)
        self._shared = SharedPrompt(keys, size, forks)
        self._shared.read_by(self._texts)
        return forks.spread(len(self._weights.parts.layers) - 1, self._readout(last))

    def go_on(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Take one more token of some texts, and leave the others for good.

        Args:
            texts: The texts that go on: all, or some, of those of the last call.
            tokens: The token of each.

        Returns:
            Logits of the next token, float32 [texts, vocabulary].
        """
        assert self._shared is not None
        if list(texts) != self._texts:
            if self._written:
                self._own.select(torch.tensor([self._texts.index(text) for text in texts]))
            self._texts = list(texts)
            self._shared.read_by(self._texts)
            self._steered = {block: delta[self._texts] for block, delta in self._deltas.items()}
        position = len(self._prompt) + self._written
        attention = AttentionOfStep(self._shared, self._own, self._written, self._kernels.fused_attention)
        layers = self._weights.parts.layers
        with steering(layers, self._steered if self._window.end is None else NO_DELTAS):
            last = self._pass([[token] for token in tokens], [position], attention)
        self._written += 1
        return self._readout(last)

    def _read_as_one(self, end: int) -> KeysAndValues:
        """Read the prompt's tokens up to `end` as one row, with nothing added."""
        keys = KeysAndValues(end)
        for start in range(0, end, MOST_TOKENS):
            tokens = self._prompt[start : min(start + MOST_TOKENS, end)]
            attention = AttentionOfPass([chain(tokens)], start, keys, True, self._kernels.fused_attention)
            self._pass([tokens], attention.positions.tolist(), attention)
        return keys

    def _fork_keys(self, one: KeysAndValues, end: int) -> KeysAndValues:
        """Room for the whole prompt's keys, which begin with those of one row."""
        keys = KeysAndValues(len(self._prompt))
        for block in range(len(self._weights.parts.layers)):
            rows = self._arms.forks.rows_after(block - 1)
            pair = (part.expand(rows, -1, -1, -1) for part in one.read(block, 0, end))
            keys.write(block, 0, *pair)
        return keys

    def _read(self, start: int, stop: int, keys: KeysAndValues, deltas: Deltas) -> Tensor:
        """Read some of the prompt's tokens under all arms; returns the residual stream at the last, [rows, hidden]."""
        layers, tokens = self._weights.parts.layers, self._prompt[start:stop]
        attention = AttentionOfPass([chain(tokens)], start, keys, True, self._kernels.fused_attention)
        with steering_arms(layers, range(len(layers)), self._arms.forks, deltas, None):
            return self._pass([tokens], attention.positions.tolist(), attention)

    def _pass(self, ids: Sequence[Sequence[int]], positions: Sequence[int], attention: Attention) -> Tensor:
        """One forward pass; returns the residual stream at the last token of each row, [rows, hidden]."""
        weights, parts = self._weights, self._weights.parts
        last = len(parts.layers) - 1
        with ExitStack() as stack:
            stack.enter_context(weights.switched())
            stack.enter_context(attending(weights.model, attention))
            stack.enter_context(self._kernels.linear_maps)
            stack.enter_context(before_each(parts.layers, tick))
            seen = stack.enter_context(looking_at(parts.layers, [last], [len(positions) - 1]))
            parts.decoder(
                input_ids=torch.tensor(ids, device=parts.device),
                position_ids=torch.tensor([positions], device=parts.device).expand(len(ids), -1),
                attention_mask=None,
                use_cache=False,
            )
        return seen[last][:, 0]
