"""One trial's call: all arms of one question in one forward pass, as one record for each arm."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import anyio.to_thread
from inspect_ai.model import ModelOutput, ModelUsage

from introbench.engine import Reading
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts.readable import RoleAndContent
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider.arm_records import records_of
from introbench.provider.calls import TOGETHER, TrialSpec
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.outputs import completion
from introbench.provider.questions import Questions, ReadableQuestion
from introbench.provider.resident import current_queue, loaded_already, one_line_errors, resident
from introbench.steering.arms import ArmBatch


class Provider(Protocol):
    """What a call needs to know of the provider that it was made to."""

    model_name: str
    checkpoint: Checkpoint

    @property
    def questions(self) -> Questions:
        """What the model was asked, tokenised."""
        ...


async def run_trial(provider: Provider, messages: RoleAndContent, spec: TrialSpec, batch: ArmBatch) -> ModelOutput:
    """Ask one question under every arm; the output's only choice is what the first one answers.

    Args:
        provider: The provider that was called.
        messages: Role and content of each message.
        spec: What the call carries.
        batch: The arms, in batch order.
    """
    checkpoint, together = provider.checkpoint, TOGETHER.get()
    with one_line_errors():
        question = provider.questions.of((messages, spec.answers), spec.prior_messages)

    def read() -> tuple[LoadedModel, Reading]:
        def others() -> Sequence[TokenizedQuestion]:
            tokenized = []
            for conversation in together():
                # Not every question is asked on every prior turn: a template may refuse a pair that nobody asks.
                with suppress(InputError):
                    tokenized.append(provider.questions.of(conversation, spec.prior_messages).tokenized)
            return tokenized

        model = resident(checkpoint)
        return model, model.read(question.tokenized, batch, others)

    def is_known() -> bool:
        loaded = loaded_already(checkpoint)
        return loaded is not None and loaded.known(question.tokenized, batch) is not None

    # Those that wait for the same cache fill stand in one line, so that the cache is filled once for them all.
    name = repr(checkpoint)
    async with current_queue().line(name, (spec.arm_batch, messages[: spec.prior_messages]), is_known) as place:
        loaded = loaded_already(checkpoint)
        if loaded and (known := loaded.known(question.tokenized, batch)):
            return _output(provider.model_name, loaded, question, batch, spec, known)
        with one_line_errors():
            async with current_queue().turn(name, place):
                model, reading = await anyio.to_thread.run_sync(read)
            output = _output(provider.model_name, model, question, batch, spec, reading)
            # Said by one of the trials that were read together: the others would say the same.
            facts = {"model": model.facts, "self_checks": model.self_checks(batch).to_json()}
            return output.model_copy(update={"metadata": (output.metadata or {}) | facts})


def _output(
    name: str,
    model: LoadedModel,
    question: ReadableQuestion,
    batch: ArmBatch,
    spec: TrialSpec,
    reading: Reading,
) -> ModelOutput:
    """A trial's reading as a model output: in the metadata a record for each arm, and a choice for the first one."""
    chat = question.tokenized.chat
    first = next(iter(spec.arms))
    records = records_of(model, question, batch, spec.arms, reading, [first] if spec.silent else spec.arms)
    return ModelOutput(
        model=name,
        choices=[completion(name, first, records[0].top)],
        usage=ModelUsage(input_tokens=len(chat.tokens), output_tokens=1, total_tokens=len(chat.tokens) + 1),
        metadata={
            "arms": [record.to_json() for record in records],
            "forms": question.form_texts,
            "left_out": question.left_out,
            "tokens": chat.digest,
            "prior_tokens": chat.prior,
            "question_tokens": len(chat.tokens) - chat.prior,
            "layers": list(batch[0].layers),
        },
    )
