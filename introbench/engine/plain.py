"""The plain engine: fill the prior turn's KV cache once under every arm, then ask each question on that cache.

A batch row is an arm. All rows of a forward pass hold the same tokens, so there is no padding, no mask to get
wrong, and arms have equal shapes by construction; what differs between two rows is the vector and nothing else.
Below the first steered block the arms do not differ at all: there, one row stands for all of them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from introbench.engine.architecture import find_parts
from introbench.engine.hooks import last_input, last_residuals, steering, widening
from introbench.engine.readout import Readout
from introbench.errors import InputError, first_line

_PROBE_LENGTH = 8
_READOUT_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest accepted difference from the model's own logits, as a share of their range."""
_TWO_STEP_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.2, torch.bfloat16: 1.0}
"""Largest accepted difference in log-probability between two steps and one; half precision rounds them differently."""


@dataclass(frozen=True)
class Fill:
    """A KV cache filled by the prior turn, one batch row per arm.

    Attributes:
        cache: Keys and values of every layer: [1, heads, length, head size] below `first`, [rows, ...] from there on.
        rows: Number of arms.
        length: Number of tokens in the prior turn.
        first: The first block in which arms are computed apart; below it one row stands for all.
    """

    cache: DynamicCache
    rows: int
    length: int
    first: int


class Engine:
    """Runs one model.

    Args:
        model: A decoder-only transformers model.

    Raises:
        InputError: The architecture is not supported.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.parts = find_parts(model)
        self._readout: Readout | None = None
        self._shares_clean_layers = True
        self.readout_note = self._check_readout()
        self.sharing_note = self._check_two_steps()

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.parts.layers)

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        embeddings = self.model.get_input_embeddings()
        device = next(embeddings.parameters()).device
        # accelerate keeps offloaded weights on "meta" and says where they are run
        hook: Any = getattr(embeddings, "_hf_hook", None)
        return torch.device(hook.execution_device) if device.type == "meta" else device

    @torch.inference_mode()
    def fill(
        self, tokens: Sequence[int], deltas: Mapping[int, Tensor], rows: int = 1, first: int | None = None
    ) -> Fill:
        """Run the prior turn with every arm steered, and keep its KV cache.

        Args:
            tokens: Token ids of the prior turn.
            deltas: Block index to what is added there, [rows, hidden]; a row of zeros is the sham.
            rows: Number of arms.
            first: The block from which on arms are computed apart; the first steered one by default.
        """
        if first is None:
            first = min(deltas, default=0)
        fill = Fill(DynamicCache(), rows, len(tokens), first if self._shares_clean_layers else 0)
        with steering(self.parts.layers, deltas), self._arms(fill):
            self._forward(self._batch(tokens, fill), fill.cache, start=0)
        return fill

    @torch.inference_mode()
    def read(self, fill: Fill, tokens: Sequence[int]) -> Tensor:
        """Ask one question on a filled cache, with nothing added, and read the next token's distribution.

        Args:
            fill: The prior turn's cache; it is as before afterwards.
            tokens: Token ids of everything after the prior turn.

        Returns:
            float32 log-probabilities [rows, vocabulary], on the CPU.
        """
        with self._arms(fill):
            return self._read(self._batch(tokens, fill), fill.cache, fill.length)

    @torch.inference_mode()
    def residuals(self, prefix: Sequence[int], branches: Sequence[Sequence[int]]) -> Tensor:
        """Residual stream at the last token of each branch, after every block.

        The prefix is run once; branches of equal length share a batch, so that nothing is padded.

        Args:
            prefix: Token ids that all branches begin with (at least one).
            branches: Token ids that follow the prefix, each at least one.

        Returns:
            float32 [branches, layers, hidden], on the CPU.
        """
        trunk = DynamicCache()
        self._forward(torch.tensor([prefix]), trunk, start=0)
        groups: dict[int, list[int]] = defaultdict(list)
        for index, branch in enumerate(branches):
            groups[len(branch)].append(index)
        result: Tensor | None = None
        for indices in groups.values():
            cache = deepcopy(trunk)
            cache.batch_repeat_interleave(len(indices))
            with last_residuals(self.parts.layers) as seen:
                self._forward(torch.tensor([branches[i] for i in indices]), cache, start=len(prefix))
            stacked = torch.stack([seen[layer].cpu() for layer in range(self.n_layers)], dim=1)
            if result is None:
                result = torch.empty(len(branches), *stacked.shape[1:])
            result[indices] = stacked
        if result is None:
            raise ValueError("residuals: no branches")
        return result

    def _batch(self, tokens: Sequence[int], fill: Fill) -> Tensor:
        """What goes into the model: one row that becomes all arms at block `first`, or a row for each arm."""
        return torch.tensor([tokens] * (1 if fill.first else fill.rows))

    def _arms(self, fill: Fill) -> AbstractContextManager[None]:
        return widening(self.parts.layers[fill.first], fill.rows) if fill.first else nullcontext()

    def _forward(self, ids: Tensor, cache: DynamicCache, start: int) -> None:
        """Extend `cache` by `ids` [rows, length], whose first token stands at position `start`."""
        positions = torch.arange(start, start + ids.shape[1], device=self.device)
        self.parts.decoder(
            input_ids=ids.to(self.device),
            position_ids=positions.expand(ids.shape[0], -1),
            past_key_values=cache,
            use_cache=True,
        )

    def _read(self, ids: Tensor, cache: DynamicCache, start: int) -> Tensor:
        try:
            if self._readout is None:
                positions = torch.arange(start, start + ids.shape[1], device=self.device)
                logits = self.model(
                    input_ids=ids.to(self.device),
                    position_ids=positions.expand(ids.shape[0], -1),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]
                return torch.log_softmax(logits.float(), dim=-1).cpu()
            with last_input(self.parts.final_norm) as seen:
                self._forward(ids, cache, start)
            return self._readout(seen[-1]).cpu()
        finally:
            _shorten(cache, start)

    @property
    def _probe(self) -> list[int]:
        vocabulary = self.model.config.get_text_config().vocab_size
        return [(37 * position + 11) % vocabulary for position in range(_PROBE_LENGTH)]

    @torch.inference_mode()
    def _check_readout(self) -> str:
        """Compare the float32 readout with the model's own logits once; fall back to those where they disagree."""
        own = self._plain(torch.tensor([self._probe]))[0]
        tolerance = _READOUT_TOLERANCE.get(self.model.dtype, 0.05) * float(own.max() - own.min())
        try:
            self._readout = Readout(self.model, self.parts)
            ours = self._read(torch.tensor([self._probe]), DynamicCache(), start=0)[0]
            difference = float((ours - own).abs().max())
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
        else:
            if difference <= tolerance:
                return f"float32 norm and unembedding (within {difference:.1e} of the model's own logits)"
            reason = f"differs from the model's own logits by {difference:.2g}"
        self._readout = None
        return f"the model's own logits, upcast to float32 ({reason})"

    @torch.inference_mode()
    def _check_two_steps(self) -> str:
        """Hold a fill and a question against one uncached forward pass that is steered on the prior turn alone.

        Sharing the layers below the first steered block is given up where it does not agree.

        Raises:
            InputError: Two steps do not give what one does, so the model's cache cannot be trusted.
        """
        first = self.n_layers // 2
        hidden = self.model.config.get_text_config().hidden_size
        deltas = {first: torch.stack([torch.zeros(hidden), torch.linspace(-1, 1, hidden)])}
        prior, question = self._probe[: _PROBE_LENGTH // 2], self._probe[_PROBE_LENGTH // 2 :]
        with steering(self.parts.layers, deltas, slice(0, len(prior))):
            expected = self._plain(torch.tensor([prior + question] * 2))

        def disagreement() -> str:
            try:
                difference = float((self.read(self.fill(prior, deltas, rows=2), question) - expected).abs().max())
            except Exception as error:
                return f"{type(error).__name__}: {first_line(error)}"
            tolerated = difference <= _TWO_STEP_TOLERANCE.get(self.model.dtype, 1.0)
            return "" if tolerated else f"moves log-probabilities by {difference:.2g}"

        reason = disagreement()
        if not reason:
            return "layers below the first steered one are computed once for all arms"
        self._shares_clean_layers = False
        if still := disagreement():
            raise InputError(
                f"model type {self.model.config.model_type}: a cache fill and a question do not give what one forward "
                f"pass gives ({still}); expected the same; choose another model or -M attn_implementation"
            )
        return f"every arm is computed from the first layer on (sharing the clean layers: {reason})"

    def _plain(self, ids: Tensor) -> Tensor:
        """Log-probabilities after `ids` in one pass without a cache, from the model's own logits."""
        logits = self.model(input_ids=ids.to(self.device), use_cache=False).logits[:, -1]
        return torch.log_softmax(logits.float(), dim=-1).cpu()


def _shorten(cache: DynamicCache, length: int) -> None:
    """Cut every layer back to `length` tokens, also after a forward pass that failed half-way."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and (excess := layer.get_seq_length() - length) > 0:
            layer.crop(-excess)
