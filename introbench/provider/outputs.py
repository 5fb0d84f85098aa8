"""One arm's record in a model output: written by the provider, read by the scorers."""

from typing import TYPE_CHECKING, Any

from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Logprob, Logprobs, ModelOutput, TopLogprob

from introbench.analysis.arm_reading import ArmReading, arm_reading
from introbench.records.arm_record import ArmRecord

if TYPE_CHECKING:  # logs are read without torch
    from introbench.engine import Reading


def arm_records(output: ModelOutput) -> list[ArmRecord]:
    """What a provider's output says of each arm; nothing, where the sample ended before anything was read."""
    return [ArmRecord.from_json(record) for record in (output.metadata or {}).get("arms", [])]


def read_arms(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output without their likely tokens, for arms without choices."""
    return [arm_reading(record) for record in arm_records(output) if record.finite]


def read_output(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output; arms whose numbers are not finite are left out."""
    readings = []
    for record, choice in zip(arm_records(output), output.choices, strict=False):
        content = choice.logprobs.content if choice.logprobs else []
        tokens = content[0].top_logprobs or [] if content else []
        if record.finite:
            readings.append(arm_reading(record, [(entry.token, entry.logprob) for entry in tokens]))
    return readings


def arm_choice(model: str, tokenizer: Any, readings: "Reading", row: int) -> ChatCompletionChoice:
    """One arm as a completion: its most likely token, with the log-probabilities of the top tokens."""
    if not readings.finite[row]:
        message = ChatMessageAssistant(content="(not finite)", model=model, source="generate")
        return ChatCompletionChoice(message=message, stop_reason="unknown")
    top = [
        TopLogprob(token=tokenizer.decode([token]), logprob=logprob)
        for token, logprob in zip(readings.top_ids[row].tolist(), readings.top_logprobs[row].tolist(), strict=True)
    ]
    return ChatCompletionChoice(
        message=ChatMessageAssistant(content=top[0].token, model=model, source="generate"),
        stop_reason="max_tokens",
        logprobs=Logprobs(content=[Logprob(token=top[0].token, logprob=top[0].logprob, top_logprobs=top)]),
    )
