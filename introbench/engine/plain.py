"""The plain engine: fill the prior turn's KV cache once under every arm, then ask each question on that cache.

A batch row is an arm. All rows of a forward pass hold the same tokens, so there is no padding, no mask to get
wrong, and arms have equal shapes by construction; what differs between two rows is the vector and nothing else.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from introbench.engine.architecture import find_parts
from introbench.engine.hooks import last_input, last_residuals, steering
from introbench.engine.readout import Readout

_PROBE_LENGTH = 8
_READOUT_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest accepted difference from the model's own logits, as a share of their range."""


@dataclass(frozen=True)
class Fill:
    """A KV cache filled by the prior turn, one batch row per arm.

    Attributes:
        cache: Keys and values of every layer, [rows, heads, length, head size].
        rows: Number of arms.
        length: Number of tokens in the prior turn.
    """

    cache: DynamicCache
    rows: int
    length: int


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
        self._readout: Readout | None = Readout(model, self.parts)
        self.readout_note = self._check_readout()

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.parts.layers)

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        return next(self.model.get_input_embeddings().parameters()).device

    @torch.inference_mode()
    def fill(self, tokens: Sequence[int], deltas: Mapping[int, Tensor], rows: int = 1) -> Fill:
        """Run the prior turn with every arm steered, and keep its KV cache.

        Args:
            tokens: Token ids of the prior turn.
            deltas: Block index to what is added there, [rows, hidden]; a row of zeros is the sham.
            rows: Number of arms.
        """
        cache = DynamicCache()
        with steering(self.parts.layers, deltas):
            self._forward(torch.tensor([tokens] * rows), cache, start=0)
        return Fill(cache=cache, rows=rows, length=len(tokens))

    @torch.inference_mode()
    def read(self, fill: Fill, tokens: Sequence[int]) -> Tensor:
        """Ask one question on a filled cache, with nothing added, and read the next token's distribution.

        Args:
            fill: The prior turn's cache; it is as before afterwards.
            tokens: Token ids of everything after the prior turn.

        Returns:
            float32 log-probabilities [rows, vocabulary], on the CPU.
        """
        return self._read(torch.tensor([tokens] * fill.rows), fill.cache, fill.length)

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

    @torch.inference_mode()
    def _check_readout(self) -> str:
        """Compare the float32 readout with the model's own logits once; fall back to those where they disagree."""
        vocabulary = self.model.config.get_text_config().vocab_size
        probe = (torch.arange(_PROBE_LENGTH) * 37 + 11) % vocabulary
        own = torch.log_softmax(self.model(input_ids=probe[None].to(self.device)).logits[0, -1].float(), dim=-1).cpu()
        tolerance = _READOUT_TOLERANCE.get(self.model.dtype, 0.05) * float(own.max() - own.min())
        try:
            ours = self._read(probe[None], DynamicCache(), start=0)[0]
            difference = float((ours - own).abs().max())
        except (TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            if difference <= tolerance:
                return f"float32 norm and unembedding (within {difference:.1e} of the model's own logits)"
            reason = f"differs from the model's own logits by {difference:.2g}"
        self._readout = None
        return f"the model's own logits, upcast to float32 ({reason})"


def _shorten(cache: DynamicCache, length: int) -> None:
    """Cut every layer back to `length` tokens, also after a forward pass that failed half-way."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and (excess := layer.get_seq_length() - length) > 0:
            layer.crop(-excess)
