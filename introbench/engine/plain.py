"""The plain path, to be read rather than to be fast: fill a transformers cache, then ask question by question.

All rows of a forward pass hold the same tokens, so there is no padding and no mask; attention, cache and positions
are transformers' own. It is what the fast path is held against, and what runs where the fast path does not agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from introbench.engine.architecture import Architecture
from introbench.engine.hooks import before_each, looking_at, steering
from introbench.engine.memory import free_memory, is_out_of_memory
from introbench.engine.packed import Seen
from introbench.engine.plan import Job
from introbench.engine.requests import Arms, Tokens
from introbench.progress import tick


class Plain:
    """Runs jobs on one model.

    Args:
        model: The model.
        parts: Its blocks.
        own_logits: Whether the model's own logits are to be read, rather than the residual stream.

    Attributes:
        reductions: How often memory ran out, so that a batch was cut.
    """

    def __init__(self, model: PreTrainedModel, parts: Architecture, own_logits: bool = False) -> None:
        self._model = model
        self._parts = parts
        self._own_logits = own_logits
        self.reductions = 0
        self._filled: tuple[Tokens, Arms | None, DynamicCache] | None = None

    @torch.inference_mode()
    def run(self, job: Job) -> Iterator[Seen]:
        """Ask a job's questions under each of its arms, one after the other."""
        for arms in job.arms:
            for question in job.questions:
                yield self._ask(job, arms, question)

    def _ask(self, job: Job, arms: Arms | None, question: Tokens) -> Seen:
        try:
            cache = self._fill(job.prior, arms)
            return self._read(cache, job, arms, question)
        except Exception as error:
            if not is_out_of_memory(error) or arms is None or arms.rows == 1:
                raise
        self.release()
        self.reductions += 1
        half = arms.rows // 2
        parts = [self._ask(job, arms.part(*rows), question) for rows in ((0, half), (half, arms.rows))]
        return Seen(
            arms,
            [question],
            {block: torch.cat([part.residuals[block] for part in parts]) for block in parts[0].residuals},
            None if parts[0].logits is None else torch.cat([part.logits for part in parts if part.logits is not None]),
        )

    def release(self) -> None:
        """Let go of everything that is kept for later jobs."""
        self._filled = None
        free_memory()

    def _fill(self, prior: Tokens, arms: Arms | None) -> DynamicCache:
        if self._filled is not None and self._filled[:2] == (prior, arms):
            return self._filled[2]
        self._filled = None  # free the old cache before the new one is made
        cache = DynamicCache()
        with steering(self._parts.layers, arms.deltas if arms else {}):
            self._forward(prior, arms.rows if arms else 1, cache, start=0)
        self._filled = (prior, arms, cache)
        return cache

    def _read(self, cache: DynamicCache, job: Job, arms: Arms | None, question: Tokens) -> Seen:
        layers = self._parts.layers
        watched = range(0 if job.every_block else len(layers) - 1, len(layers))
        try:
            with looking_at(layers, watched, [len(question) - 1]) as seen:
                logits = self._forward(question, arms.rows if arms else 1, cache, start=len(job.prior))
        finally:
            _shorten(cache, len(job.prior))
        return Seen(arms, [question], seen, logits)

    def _forward(self, tokens: Sequence[int], rows: int, cache: DynamicCache, start: int) -> Tensor | None:
        """Extend the cache by `tokens`, the first of which stands at position `start`; logits [rows, 1, vocabulary]."""
        device = self._parts.device
        given = {
            "input_ids": torch.tensor([list(tokens)] * rows, device=device),
            "position_ids": torch.arange(start, start + len(tokens), device=device).expand(rows, -1),
            "past_key_values": cache,
            "use_cache": True,
        }
        with ExitStack() as stack:
            stack.enter_context(before_each(self._parts.layers, tick))
            if not self._own_logits:
                self._parts.decoder(**given)
                return None
            logits: Tensor = self._model(**given, logits_to_keep=1).logits
        return logits.float()


def one_forward(
    model: PreTrainedModel, parts: Architecture, tokens: Sequence[int], prior: int, deltas: Mapping[int, Tensor]
) -> Tensor:
    """Log-probabilities after `tokens` from one uncached pass that is steered on the prior turn alone.

    This is the definition of what every path computes.

    Args:
        model: The model.
        parts: Its blocks.
        tokens: The whole conversation.
        prior: How many of its tokens are steered.
        deltas: Block index to what is added there, [rows, hidden].

    Returns:
        float32 [rows, vocabulary], on the CPU, from the model's own logits.
    """
    rows = next((delta.shape[0] for delta in deltas.values()), 1)
    with torch.inference_mode(), steering(parts.layers, deltas, slice(0, prior)):
        ids = torch.tensor([list(tokens)] * rows, device=parts.device)
        logits = model(input_ids=ids, use_cache=False).logits[:, -1]
    return torch.log_softmax(logits.float(), dim=-1).cpu()


def _shorten(cache: DynamicCache, length: int) -> None:
    """Cut every layer back to `length` tokens, also after a forward pass that failed half-way."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and (excess := layer.get_seq_length() - length) > 0:
            layer.crop(-excess)
