"""The plain path: fill a transformers cache with the prior turn, then ask question by question.

It is written to be read rather than to be fast. All rows of a forward pass hold the same tokens, so there is no padding
and no mask; attention, cache and positions are transformers' own. It runs where the fast path does not agree with the
model.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from introbench.engine.hooks import before_each, looking_at, steering
from introbench.engine.memory import free_memory, is_out_of_memory
from introbench.engine.plan import EndStates, Job
from introbench.engine.requests import NO_DELTAS, Arms, Deltas, Tokens
from introbench.engine.weights import Weights
from introbench.progress import tick


class PlainPath:
    """Runs jobs on one model, one question after the other.

    Args:
        weights: The model that answers.
        own_logits: Whether to read the model's own logits as well as the residual stream.

    Attributes:
        reductions: How often memory ran out, so that a batch was cut.
    """

    def __init__(self, weights: Weights, own_logits: bool = False) -> None:
        self._weights = weights
        self._own_logits = own_logits
        self.reductions = 0
        self._filled: tuple[Tokens, Arms | None, DynamicCache] | None = None
        self._aside: tuple[Tokens, Arms | None, DynamicCache] | None = None

    @torch.inference_mode()
    def run(self, job: Job) -> Iterator[EndStates]:
        """Ask a job's questions one after the other, under one of its arms after the other."""
        for arms in job.arms:
            for question in job.questions:
                yield self._ask(job, arms, question)

    def _ask(self, job: Job, arms: Arms | None, question: Tokens) -> EndStates:
        try:
            cache = self._fill(job.prior, arms)
            return self._read(cache, job, arms, question)
        except Exception as error:
            if not is_out_of_memory(error) or arms is None or arms.rows == 1:
                raise
        self._aside = None
        self.release()
        self.reductions += 1
        half = arms.rows // 2
        parts = [self._ask(job, arms.part(*rows), question) for rows in ((0, half), (half, arms.rows))]
        return EndStates(
            arms,
            [question],
            {block: torch.cat([part.residuals[block] for part in parts]) for block in parts[0].residuals},
            None if parts[0].logits is None else torch.cat([part.logits for part in parts if part.logits is not None]),
        )

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Afterwards go on with what is kept now, whatever is read or released in between."""
        self._aside = self._filled
        try:
            yield
        finally:
            self.release()
            self._filled, self._aside = self._aside, None

    def release(self) -> None:
        """Let go of everything that is kept for later jobs."""
        self._filled = None
        free_memory()

    def _fill(self, prior: Tokens, arms: Arms | None) -> DynamicCache:
        if self._filled is not None and self._filled[:2] == (prior, arms):
            return self._filled[2]
        self._filled = None  # free the old cache before the new one is made
        cache = DynamicCache()
        weights = (arms.filler if arms else None) or self._weights
        deltas, profile = (arms.deltas, arms.profile) if arms else (NO_DELTAS, None)
        with steering(weights.parts.layers, deltas, profile=profile):
            self._forward(weights, prior, arms.rows if arms else 1, cache, start=0)
        self._filled = (prior, arms, cache)
        return cache

    def _read(self, cache: DynamicCache, job: Job, arms: Arms | None, question: Tokens) -> EndStates:
        layers = self._weights.parts.layers
        watched = range(0 if job.every_block else len(layers) - 1, len(layers))
        deltas = arms.question_deltas if arms else NO_DELTAS
        try:
            with steering(layers, deltas), looking_at(layers, watched, [len(question) - 1]) as residuals:
                logits = self._forward(self._weights, question, arms.rows if arms else 1, cache, start=len(job.prior))
        finally:
            _shorten(cache, len(job.prior))
        return EndStates(arms, [question], residuals, logits)

    def _forward(
        self, weights: Weights, tokens: Sequence[int], rows: int, cache: DynamicCache, start: int
    ) -> Tensor | None:
        """Extend the cache by `tokens`, from position `start` on.

        Returns:
            The last token's own logits, float32 [rows, 1, vocabulary]; None if they are not to be read.
        """
        device = weights.parts.device
        arguments = {
            "input_ids": torch.tensor([list(tokens)] * rows, device=device),
            "position_ids": torch.arange(start, start + len(tokens), device=device).expand(rows, -1),
            "past_key_values": cache,
            "use_cache": True,
        }
        with ExitStack() as stack:
            stack.enter_context(weights.switched())
            stack.enter_context(before_each(weights.parts.layers, tick))
            if not self._own_logits:
                weights.parts.decoder(**arguments)
                return None
            logits: Tensor = weights.model(**arguments, logits_to_keep=1).logits
        return logits.float()


def one_forward(
    weights: Weights,
    tokens: Sequence[int],
    prior: int,
    deltas: Deltas,
    question_deltas: Deltas = NO_DELTAS,
    profile: Tensor | None = None,
) -> Tensor:
    """Log-probabilities of the next token after `tokens`, from one uncached pass through the whole conversation.

    This defines what every path computes, unless other weights fill the cache.

    Args:
        weights: The model.
        tokens: The whole conversation.
        prior: How many of its tokens are the prior turn.
        deltas: What is added at the prior turn's tokens, [rows, hidden] by block.
        question_deltas: What is added at all other tokens, [rows, hidden] by block.
        profile: The share of `deltas` that each token of the prior turn gets, [rows, prior]; None for all of it.

    Returns:
        float32 [rows, vocabulary], on the CPU, from the model's own logits.
    """
    rows = next((delta.shape[0] for delta in (*deltas.values(), *question_deltas.values())), 1)
    layers = weights.parts.layers
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(weights.switched())
        stack.enter_context(steering(layers, deltas, slice(0, prior), profile))
        stack.enter_context(steering(layers, question_deltas, slice(prior, None)))
        ids = torch.tensor([list(tokens)] * rows, device=weights.parts.device)
        logits = weights.model(input_ids=ids, use_cache=False).logits[:, -1]
    return torch.log_softmax(logits.float(), dim=-1).cpu()


def _shorten(cache: DynamicCache, length: int) -> None:
    """Cut every layer back to `length` tokens, also after a forward pass that failed half-way."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and (excess := layer.get_seq_length() - length) > 0:
            layer.crop(-excess)
