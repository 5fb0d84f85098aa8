"""A sampled trial's call: answers to one question under every arm, one choice for each answer."""

import anyio.to_thread
from inspect_ai.model import ModelOutput

from introbench.engine.windows import Window
from introbench.progress import part, step
from introbench.prompts.chat import Chat, tokenize_chat, tokenize_open_chat
from introbench.prompts.readable import RoleAndContent
from introbench.provider.calls import SamplingSpec
from introbench.provider.resident import current_queue, one_line_errors, resident
from introbench.provider.run_continuation import end_tokens, output_of_texts
from introbench.provider.run_trial import Provider
from introbench.records.arm_record import TextRecord, finite_or_none
from introbench.records.sampled_factors import PRIOR
from introbench.steering.arms import ArmBatch


async def run_sampling(
    provider: Provider, messages: RoleAndContent, spec: SamplingSpec, batch: ArmBatch
) -> ModelOutput:
    """Sample answers; the choices are those of the first arm, then those of the second, and so on.

    Args:
        provider: The provider that was called.
        messages: Role and content of each message; the last one asks.
        spec: What the call carries.
        batch: The arms, in batch order; each writes texts.
    """

    def write() -> ModelOutput:
        model = resident(provider.checkpoint)
        chat = chat_to_answer(model.tokenizer, messages, spec.prior_messages, spec.begins)
        injections = [batch[row] for row in spec.arms.values()]
        with step(f"vectors and strengths of {len(injections)} arms"):
            arms = model.strengths.arms(model.strengths.resolve(injections))
        count = len(spec.seeds)
        window = window_of(spec.protocol, chat)
        with part(model.work.sampled(len(chat.tokens), window, batch, len(injections) * count, spec.length)):
            texts = model.engine.continue_chat(
                chat.tokens,
                {layer: delta.repeat_interleave(count, dim=0) for layer, delta in arms.deltas.items()},
                [*spec.seeds] * len(injections),
                length=spec.length,
                temperature=spec.temperature,
                end=end_tokens(model),
                window=window,
                scored=False,
            )
        norms = [
            max((float(arms.deltas[layer][row].norm()) for layer in range(*injection.layers)), default=0.0)
            for row, injection in enumerate(injections)
        ]
        records = [
            TextRecord(
                arm=arm,
                vector=injection.label,
                strength=finite_or_none(norms[row]),
                dose=None,
                texts=[model.tokenizer.decode(text.tokens) for text in texts[row * count : (row + 1) * count]],
                mean_logprobs=[],
                finite=all(text.finite for text in texts[row * count : (row + 1) * count]),
            )
            for row, (arm, injection) in enumerate(zip(spec.arms, injections, strict=True))
        ]
        written = sum(len(text.tokens) for text in texts)
        return output_of_texts(provider.model_name, records, (len(chat.tokens), written), {"model": model.facts})

    name = repr(provider.checkpoint)
    async with current_queue().line(name, (spec.arm_batch, spec.protocol)):
        with one_line_errors():
            async with current_queue().turn(name):
                return await anyio.to_thread.run_sync(write)


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
