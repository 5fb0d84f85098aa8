"""A continuation's call: texts under every arm while it is on, one choice for each text."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

from introbench.engine.continuation import Continuation
from introbench.engine.requests import Tokens
from introbench.progress import part, step
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.readable import RoleAndContent
from introbench.provider.calls import ContinuationSpec
from introbench.provider.liveness import word_logprobs
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.resident import current_queue, one_line_errors, resident
from introbench.provider.run_trial import Provider
from introbench.records.arm_record import TextRecord, finite_or_none
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import Injection


async def run_continuation(
    provider: Provider, messages: RoleAndContent, spec: ContinuationSpec, batch: ArmBatch
) -> ModelOutput:
    """Continue a chat; the choices are the texts of the first arm, then those of the second, and so on.

    Args:
        provider: The provider that was called.
        messages: Role and content of each message.
        spec: What the call carries.
        batch: The arms, in batch order.
    """

    def write() -> ModelOutput:
        turns = [{"role": role, "content": content} for role, content in messages]
        chat = tokenize_chat(provider.checkpoint.tokenizer, turns, 0)
        model = resident(provider.checkpoint)
        injections = [batch[row] for row in spec.arms.values()]
        texts = continued(model, chat.tokens, injections, spec.seeds, spec.length, spec.temperature)
        with step(f"what brings {spec.concept!r} to mind, and by what dose"):
            words = word_logprobs(model.engine, model.tokenizer, model.strengths, chat, batch, [spec.concept])
            resolved = model.strengths.resolve(injections)
            doses = model.strengths.doses(resolved)
        records = [
            TextRecord(
                arm=arm,
                vector=injection.label,
                strength=finite_or_none(strength.norm),
                dose=finite_or_none(dose),
                texts=[model.tokenizer.decode(text.tokens) for text in of_arm],
                mean_logprobs=[text.mean_logprob if text.tokens else None for text in of_arm],
                finite=all(text.finite for text in of_arm),
            )
            for arm, injection, strength, dose, of_arm in zip(
                spec.arms, injections, resolved, doses, texts, strict=True
            )
        ]
        written = sum(len(text.tokens) for of_arm in texts for text in of_arm)
        return output_of_texts(
            provider.model_name,
            records,
            (len(chat.tokens), written),
            {
                "words": [finite_or_none(word) for word in words[spec.concept]],
                "layers": list(batch[0].layers),
                "model": model.facts,
            },
        )

    name = repr(provider.checkpoint)
    async with current_queue().line(name, (spec.arm_batch, "continuation")):
        with one_line_errors():
            async with current_queue().turn(name):
                return await anyio.to_thread.run_sync(write)


def output_of_texts(
    model: str, records: Sequence[TextRecord], tokens: tuple[int, int], facts: Mapping[str, Any]
) -> ModelOutput:
    """A model output whose choices are the texts of the first arm, then those of the second, and so on.

    Args:
        model: The model's name.
        records: What was written under each arm.
        tokens: How many tokens were read, and how many written.
        facts: What the output's metadata hold beside the records.
    """
    choices = [
        ChatCompletionChoice(
            message=ChatMessageAssistant(content=text, model=model, source="generate"), stop_reason="max_tokens"
        )
        for record in records
        for text in record.texts
    ]
    read, written = tokens
    return ModelOutput(
        model=model,
        choices=choices,
        usage=ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written),
        metadata={"arms": [record.to_json() for record in records], **facts},
    )


def continued(
    model: LoadedModel,
    tokens: Tokens,
    injections: Sequence[Injection],
    seeds: Sequence[int],
    length: int,
    temperature: float,
) -> list[list[Continuation]]:
    """Continue a chat under each of some injections, which are on at every token: one text per seed.

    Args:
        model: The model.
        tokens: The chat, up to where it goes on.
        injections: The injections.
        seeds: Seeds of the texts; the same for all injections, so that they can be compared.
        length: Most tokens to write.
        temperature: 0 for the most likely token.
    """
    arms = model.strengths.arms(model.strengths.resolve(injections))
    deltas = {layer: delta.repeat_interleave(len(seeds), dim=0) for layer, delta in arms.deltas.items()}
    with part(model.work.texts(tokens, len(seeds) * len(injections), length)):
        texts = model.engine.continue_chat(
            tokens,
            deltas,
            [*seeds] * len(injections),
            length=length,
            temperature=temperature,
            end=end_tokens(model),
        )
    return [texts[begin : begin + len(seeds)] for begin in range(0, len(texts), len(seeds))]


def end_tokens(model: LoadedModel) -> set[int]:
    """Tokens that end a text."""
    configured = getattr(model.engine.model.generation_config, "eos_token_id", None)
    tokens = configured if isinstance(configured, list) else [configured]
    return {token for token in [*tokens, model.tokenizer.eos_token_id] if token is not None}
