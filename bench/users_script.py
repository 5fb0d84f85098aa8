"""What a competent user writes with transformers alone: batches, a cache that is kept, hooks, the last position only.

The prior turn's cache is filled once, with all arms as rows of a batch and hooks that add the vectors. Questions of
about equal length are then asked together: the cache is repeated for each of them, and only the states at their last
tokens meet the unembedding.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from introbench.engine import Arms, Request

ROWS = 32
"""Most rows of a batch: more were no faster on two CPU cores, and the repeated cache takes memory."""


class UsersScript:
    """Asks questions on one prior turn under some arms.

    Args:
        model: A model of the Llama kind: `model.model.layers`, `lm_head`.
        requests: Conversations that share their prior turn and their arms.
    """

    def __init__(self, model: PreTrainedModel, requests: Sequence[Request]) -> None:
        arms = requests[0].arms
        assert arms is not None
        self._model = model
        self._arms: Arms = arms
        self._prior = requests[0].prior_tokens
        self._pad = 0
        at_a_time = max(1, ROWS // arms.rows)
        by_length = sorted(range(len(requests)), key=lambda index: len(requests[index].question))
        self._questions = [request.question for request in requests]
        self.batches = [by_length[begin : begin + at_a_time] for begin in range(0, len(requests), at_a_time)]
        """Indices of the questions that are asked together."""

    @torch.inference_mode()
    def fill(self) -> DynamicCache:
        """The cache of the prior turn, with a row for each arm."""
        ids = torch.tensor([self._prior], device=self._model.device).expand(self._arms.rows, -1)
        cache = DynamicCache(config=self._model.config)
        with _adding(self._model, self._arms):
            self._model.model(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def ask(self, cache: DynamicCache, batch: Sequence[int]) -> Tensor:
        """Log-probabilities of the next token after some questions, float32 [questions, arms, vocabulary]."""
        device, rows, prior = self._model.device, self._arms.rows, len(self._prior)
        questions = [self._questions[index] for index in batch]
        longest = max(map(len, questions))
        # Padding on the right: no earlier token attends to it, and what it gives is not read.
        ids = torch.tensor([[*question, *[self._pad] * (longest - len(question))] for question in questions])
        ends = torch.tensor([len(question) - 1 for question in questions], device=device)
        repeated = copy.deepcopy(cache)
        repeated.batch_repeat_interleave(len(questions))  # rows: every question under the first arm, then the second
        states = self._model.model(
            input_ids=ids.to(device).repeat(rows, 1),
            past_key_values=repeated,
            use_cache=True,
            position_ids=torch.arange(prior, prior + longest, device=device)[None],
        ).last_hidden_state
        at_ends = states[torch.arange(len(states), device=device), ends.repeat(rows)]
        logprobs = torch.log_softmax(self._model.lm_head(at_ends).float(), dim=-1)
        return logprobs.view(rows, len(questions), -1).transpose(0, 1)

    def run(self) -> list[Tensor]:
        """Log-probabilities of the next token after every question, in order, [arms, vocabulary] each."""
        cache = self.fill()
        answers: dict[int, Tensor] = {}
        for batch in self.batches:
            answers |= dict(zip(batch, self.ask(cache, batch), strict=True))
        return [answers[index] for index in range(len(self._questions))]


@contextmanager
def _adding(model: PreTrainedModel, arms: Arms) -> Iterator[None]:
    """Add the arms' vectors to the outputs of their layers while the context is open."""
    with ExitStack() as stack:
        for layer, delta in arms.deltas.items():
            added = delta[:, None].to(model.device, model.dtype)

            def hook(_module: nn.Module, _args: Any, output: Any, added: Tensor = added) -> Any:
                return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

            stack.callback(model.model.layers[layer].register_forward_hook(hook).remove)
        yield
