"""A sampled trial's call: answers to one question under every arm, one choice for each answer."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import anyio.to_thread
import torch
from inspect_ai.model import ModelOutput

from introbench.engine.continuation import Continuation
from introbench.engine.windows import Window
from introbench.progress import part, step
from introbench.prompts.chat import Chat, tokenize_chat, tokenize_open_chat
from introbench.prompts.readable import RoleAndContent
from introbench.provider.calls import SamplingSpec
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.resident import current_queue, one_line_errors, resident
from introbench.provider.run_continuation import end_tokens, output_of_texts
from introbench.provider.run_trial import Provider
from introbench.records.arm_record import TextRecord, finite_or_none
from introbench.records.sampled_factors import PRIOR
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import Injection

ROWS_TOGETHER = 160
"""About how many texts are written side by side; more are hardly faster, and their keys take memory."""


@dataclass(eq=False)
class _Asked:
    """A call that waits for its answers.

    Attributes:
        spec: What it carries.
        injections: Its arms.
        output: The answers, once they are written.
    """

    spec: SamplingSpec
    injections: Sequence[Injection]
    output: ModelOutput | None = None

    @property
    def rows(self) -> int:
        """Number of its texts."""
        return len(self.injections) * len(self.spec.seeds)


_waiting: dict[Hashable, list[_Asked]] = {}
"""Calls whose chats are the same, in the order in which they came."""


async def run_sampling(
    provider: Provider, messages: RoleAndContent, spec: SamplingSpec, batch: ArmBatch
) -> ModelOutput:
    """Sample answers; the choices are those of the first arm, then those of the second, and so on.

    Calls that wait with the same chat are answered side by side, as many as make about `ROWS_TOGETHER` texts: small
    batches would leave most of the processor idle. In float32 no text depends on which they are.

    Args:
        provider: The provider that was called.
        messages: Role and content of each message; the last one asks.
        spec: What the call carries.
        batch: The arms, in batch order.
    """
    name = repr(provider.checkpoint)
    asked = _Asked(spec, [batch[row] for row in spec.arms.values()])
    alike = (name, messages, spec.length, spec.temperature, spec.prior_messages, spec.protocol, spec.begins)
    waiting = _waiting.setdefault(alike, [])
    waiting.append(asked)
    try:
        async with current_queue().line(name, (spec.protocol, "sampling")):
            with one_line_errors():
                async with current_queue().turn(name):
                    if asked.output is None:
                        together = _together(asked, waiting)
                        outputs = await anyio.to_thread.run_sync(lambda: _write(provider, messages, together))
                        for one, output in zip(together, outputs, strict=True):
                            one.output = output
    finally:
        waiting.remove(asked)
        if not waiting:
            _waiting.pop(alike, None)
    assert asked.output is not None
    return asked.output


def _together(first: _Asked, waiting: Sequence[_Asked]) -> list[_Asked]:
    """The calls that are answered with one: itself, and others that wait."""
    together, rows = [first], first.rows
    for other in waiting:
        if other is not first and other.output is None and rows + other.rows <= ROWS_TOGETHER:
            together.append(other)
            rows += other.rows
    return together


def _write(provider: Provider, messages: RoleAndContent, together: Sequence[_Asked]) -> list[ModelOutput]:
    """The answers of some calls with the same chat."""
    model, spec = resident(provider.checkpoint), together[0].spec
    chat = chat_to_answer(model.tokenizer, messages, spec.prior_messages, spec.begins)
    injections = [injection for asked in together for injection in asked.injections]
    with step(f"vectors and strengths of {len(injections)} arms"):
        arms = model.strengths.arms(model.strengths.resolve(injections))
    texts_of = torch.tensor([len(asked.spec.seeds) for asked in together for _ in asked.injections])
    window = window_of(spec.protocol, chat)
    work = sum(
        model.work.sampled(len(chat.tokens), window, asked.injections, asked.rows, spec.length) for asked in together
    )
    with part(work):
        texts = iter(
            model.engine.continue_chat(
                chat.tokens,
                {layer: delta.repeat_interleave(texts_of, dim=0) for layer, delta in arms.deltas.items()},
                [seed for asked in together for _ in asked.injections for seed in asked.spec.seeds],
                length=spec.length,
                temperature=spec.temperature,
                end=end_tokens(model),
                window=window,
                scored=False,
            )
        )
    norms = iter(
        max((float(arms.deltas[layer][row].norm()) for layer in range(*injection.layers)), default=0.0)
        for row, injection in enumerate(injections)
    )
    return [_output(provider, model, asked, len(chat.tokens), texts, norms) for asked in together]


def _output(
    provider: Provider,
    model: LoadedModel,
    asked: _Asked,
    prompt: int,
    texts: Iterator[Continuation],
    norms: Iterator[float],
) -> ModelOutput:
    """The output of one call, which takes its texts and norms from those of all."""
    records, written = [], 0
    for arm, injection in zip(asked.spec.arms, asked.injections, strict=True):
        of_arm = list(islice(texts, len(asked.spec.seeds)))
        written += sum(len(text.tokens) for text in of_arm)
        records.append(
            TextRecord(
                arm=arm,
                vector=injection.label,
                strength=finite_or_none(next(norms)),
                dose=None,
                texts=[model.tokenizer.decode(text.tokens) for text in of_arm],
                mean_logprobs=[],
                finite=all(text.finite for text in of_arm),
            )
        )
    return output_of_texts(provider.model_name, records, (prompt, written), {"model": model.facts})


def chat_to_answer(tokenizer: object, messages: RoleAndContent, prior_messages: int, begins: str) -> Chat:
    """The chat that is answered.

    Args:
        tokenizer: The model's tokenizer.
        messages: Role and content of each message; the last one asks.
        prior_messages: How many leading messages are the prior turn.
        begins: What the answer begins with; empty to leave all of it to the model.
    """
    turns = [{"role": role, "content": content} for role, content in messages]
    if begins:
        return tokenize_chat(tokenizer, [*turns, {"role": "assistant", "content": begins}], prior_messages)
    return tokenize_open_chat(tokenizer, turns, prior_messages)


def window_of(protocol: str, chat: Chat) -> Window:
    """Which tokens a protocol steers: the prior turn alone, or from its last token on, question and answer too."""
    return Window(0, chat.prior) if protocol == PRIOR else Window(chat.prior - 1)
