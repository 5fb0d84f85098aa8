"""How much work the model calls of a run are, in block tokens, before any weights load.

What a block token is, `introbench.engine.workload` says. The loaded model tells by the same numbers how much is done.
"""

import time
from collections.abc import Sequence

import torch

from introbench.engine.requests import Tokens
from introbench.engine.windows import Window
from introbench.engine.workload import SideBySide, Workload, work_of_texts
from introbench.models.checkpoint import Checkpoint
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import Injection
from introbench.steering.planned import planned_arms

BESIDE_PRODUCTS = 2.0
"""How many times as long a run takes as the products of its tokens with the blocks' weights alone, at their fastest."""

SECONDS_PER_TRIAL = 0.01
"""How much longer a run takes for each trial that Inspect keeps and logs, beside the model's products."""

_PRODUCT_TOKENS = 512
_PRODUCTS = 6


class WorkOfCalls:
    """The work of model calls, in the order in which they are made.

    Args:
        n_layers: Number of the model's decoder blocks.
    """

    def __init__(self, n_layers: int) -> None:
        self._n_layers = n_layers
        self._workload = Workload(n_layers)
        self._arms: dict[tuple[ArmBatch, int], list[SideBySide]] = {}
        self._seen: set[ArmBatch] = set()

    def questions(self, questions: Sequence[TokenizedQuestion], batch: ArmBatch, *, measured: bool = True) -> int:
        """The work of asking questions of one prior turn under every arm of a batch.

        Args:
            questions: The questions.
            batch: The arms.
            measured: Whether doses are measured before the first questions under a batch.
        """
        is_first = batch not in self._seen
        self._seen.add(batch)
        if is_first and measured:
            self._workload.release()
        chats = [question.chat for question in questions]
        arms = self._arms_of(batch, chats[0].prior)
        return self._workload.job(chats[0].prior_tokens, [chat.question_tokens for chat in chats], arms)

    def end_of_prior(self, prior: Tokens, batch: ArmBatch) -> int:
        """The work of reading the last token of a prior turn, which is steered itself."""
        arms = [SideBySide(one.rows, one.additions, one.filler) for one in self._arms_of(batch, len(prior))]
        return self._workload.job(prior[:-1], [prior[-1:]], arms)

    def texts(self, prompt: Tokens, rows: int, length: int) -> int:
        """The work of continuing a chat, and of running every text once more with nothing injected.

        Args:
            prompt: The chat.
            rows: Number of texts.
            length: Most tokens of a text.
        """
        return 2 * rows * (len(prompt) + length - 1) * self._n_layers

    def sampled(self, prompt: int, window: Window, arms: Sequence[Injection], texts: int, length: int) -> int:
        """The work of sampling answers under some arms, by themselves.

        Args:
            prompt: Tokens of the chat.
            window: Those that are steered.
            arms: The arms.
            texts: Number of texts of all arms.
            length: Most tokens of a text.
        """
        (side_by_side,) = planned_arms(arms)
        return work_of_texts(list(window.parts(prompt)), side_by_side, texts, length, self._n_layers)

    def _arms_of(self, batch: ArmBatch, prior: int) -> list[SideBySide]:
        key = batch, prior if any(injection.spans for injection in batch) else 0
        if key not in self._arms:
            self._arms[key] = planned_arms(batch)
        return self._arms[key]


def seconds_per_block_token(checkpoint: Checkpoint) -> float:
    """How long a token takes in a block, as the machine's speed in products of this model's size lets expect."""
    device = torch.device(checkpoint.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype = getattr(torch, checkpoint.dtype) if checkpoint.dtype else dtype
    return (
        BESIDE_PRODUCTS * 2 * checkpoint.weights_per_block / product_speed(checkpoint.config.hidden_size, device, dtype)
    )


def product_speed(width: int, device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a product of some hundred tokens with a weight of a model of this width: the fastest of a few."""
    states = torch.ones(_PRODUCT_TOKENS, width, dtype=dtype, device=device)
    weight = torch.ones(4 * width, width, dtype=dtype, device=device)
    fastest = float("inf")
    for _ in range(_PRODUCTS):
        begun = time.perf_counter()
        product = torch.nn.functional.linear(states, weight)
        float(product[0, 0])  # waits for a GPU
        fastest = min(fastest, time.perf_counter() - begun)
    return 2 * states.numel() * weight.shape[0] / fastest
