"""The same trials by the engine and by what people use without it, each timed on a sample and scaled to all trials.

* `engine`: introbench's.
* `published`: the published schedule, every conversation and vector in a pass of its own (see `naive`).
* `published, last`: the same, with the unembedding at the last position only.
* `script`: a competent user's script (see `users_script`).
* `hf provider`: Inspect's own provider for transformers models. It cannot inject, so it can do the sham's arm alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, get_model
from measure import seconds
from naive import one_arm, passes
from random_models import SHAPES, random_model
from transformers import PreTrainedModel
from users_script import UsersScript
from workload import conversations, layers_to_steer, random_arms, requests

from introbench.engine import Engine, Request, TransformersEngine
from introbench.models.checkpoint import Checkpoint
from introbench.models.loaders import without_progress_bars
from introbench.models.smollm2 import NAME
from introbench.prompts.chat import Chat

READ = (10, 11, 12, 13)
"""Tokens whose log-probabilities are read."""

_HF_QUESTIONS = 16
"""Conversations that the hf provider is timed on, in one batch."""


@dataclass
class Workload:
    """Questions on one prior turn under some arms.

    Attributes:
        name: `smollm2`, or a key of `SHAPES` for random weights; conversations are tokenised by smollm2's tokenizer.
        rows: Number of arms, the sham among them.
        questions: Number of conversations.
        prior: Tokens of the prior turn.
    """

    name: str
    rows: int
    questions: int
    prior: int

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, in float32."""
        return random_model(SHAPES[self.name]) if self.name in SHAPES else Checkpoint(self.name).load()

    @cached_property
    def chats(self) -> list[Chat]:
        """The conversations."""
        return conversations(Checkpoint(NAME), self.questions, self.prior)

    @cached_property
    def requests(self) -> list[Request]:
        """What is asked of the engine."""
        arms = random_arms(self.model, self.rows, layers_to_steer(self.model))
        return requests(self.chats, arms, READ)

    @cached_property
    def engine(self) -> Engine:
        """The engine."""
        return TransformersEngine(self.model)

    @cached_property
    def script(self) -> UsersScript:
        """The user's script."""
        return UsersScript(self.model, self.requests)

    @cached_property
    def hf(self) -> Model:
        """Inspect's provider, with a template that renders a message alone, so that chats stay as they are."""
        options: dict[str, Any] = {"device": "cpu", "dtype": torch.float32, "do_sample": False}
        with without_progress_bars():
            return get_model(
                "hf/bench",
                model_path=Checkpoint(self.name).source,
                chat_template="{{ messages[0]['content'] }}",
                batch_size=_HF_QUESTIONS,
                **options,
            )

    def same_model(self, rows: int) -> "Workload":
        """The same workload under another number of arms, with the model that is loaded."""
        other = Workload(self.name, rows, self.questions, self.prior)
        other.__dict__ |= {"model": self.model, "chats": self.chats, "engine": self.engine}
        return other


def by_engine(workload: Workload, _sample: int) -> float:
    """Seconds of all trials by the engine."""
    workload.engine.release()
    return seconds(lambda: workload.engine.read(workload.requests))


def _published(workload: Workload, sample: int, last_only: bool) -> float:
    request = workload.requests[_spread(sample, len(workload.requests))]
    row = (0, workload.rows - 1)[sample % 2]
    arms = request.arms
    assert arms is not None
    parts = workload.engine.parts
    once = seconds(lambda: one_arm(workload.model, parts, request, arms, row, last_only))
    return once * passes(len(workload.requests), workload.rows)


def by_published_schedule(workload: Workload, sample: int) -> float:
    """Seconds of all trials by the published schedule, from one pass."""
    return _published(workload, sample, last_only=False)


def by_published_schedule_last(workload: Workload, sample: int) -> float:
    """Seconds of all trials by the published schedule with logits at the last position only, from one pass."""
    return _published(workload, sample, last_only=True)


def by_script(workload: Workload, sample: int) -> float:
    """Seconds of all trials by the user's script, from filling the cache and one batch of questions."""
    script = workload.script
    caches: list[Any] = []
    filling = seconds(lambda: caches.append(script.fill()))
    batch = script.batches[_spread(sample, len(script.batches))]
    return filling + seconds(lambda: script.ask(caches[0], batch)) * len(workload.requests) / len(batch)


def by_hf_provider(workload: Workload, _sample: int) -> float:
    """Seconds of all sham trials by Inspect's hf provider, from one batch."""
    asked = workload.chats[:_HF_QUESTIONS]
    return seconds(lambda: hf_logprobs(workload.hf, asked)) * len(workload.chats) / len(asked)


def hf_logprobs(model: Model, chats: Sequence[Chat], top: int = 8) -> list[dict[str, float]]:
    """Log-probabilities of the most likely next tokens after some conversations, by Inspect's hf provider."""
    config = GenerateConfig(max_tokens=1, logprobs=True, top_logprobs=top, max_connections=len(chats))

    async def ask() -> list[dict[str, float]]:
        outputs = await asyncio.gather(
            *(model.generate([ChatMessageUser(content=chat.text)], config=config) for chat in chats)
        )
        found = []
        for output in outputs:
            logprobs = output.choices[0].logprobs
            assert logprobs is not None
            found.append({token.token: token.logprob for token in logprobs.content[0].top_logprobs or []})
        return found

    return asyncio.run(ask())


Contestant = Callable[[Workload, int], float]
"""Seconds that all trials of a workload take, estimated from the sample of that number."""

CONTESTANTS: dict[str, Contestant] = {
    "engine": by_engine,
    "published": by_published_schedule,
    "published, last": by_published_schedule_last,
    "script": by_script,
    "hf provider": by_hf_provider,
}


def able(workload: Workload) -> dict[str, Contestant]:
    """The contestants that can run a workload: the hf provider loads files, and cannot inject."""
    can_hf = workload.name not in SHAPES and workload.rows == 1
    return {name: contestant for name, contestant in CONTESTANTS.items() if can_hf or name != "hf provider"}


def _spread(sample: int, count: int) -> int:
    """An index for each sample, spread over `count`."""
    return int(count * ((sample * 0.618 + 0.5) % 1))
