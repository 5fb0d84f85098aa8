"""One arm's record in a model output: written by the provider, read by the scorers."""

from collections.abc import Sequence

from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput

from introbench.analysis.arm_reading import ArmReading, arm_reading
from introbench.records.arm_record import ArmRecord


def arm_records(output: ModelOutput) -> list[ArmRecord]:
    """What a provider's output says of each arm; nothing, where the sample ended before anything was read."""
    return [ArmRecord.from_json(record) for record in (output.metadata or {}).get("arms", [])]


def read_arms(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output without their likely tokens."""
    return [arm_reading(record) for record in arm_records(output) if record.finite]


def read_output(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output; arms whose numbers are not finite are left out."""
    records, choices = arm_records(output), output.choices
    of_choices = [_top_of(choice) for choice in choices] if len(choices) == len(records) else [[]] * len(records)
    return [
        arm_reading(record, record.top or top) for record, top in zip(records, of_choices, strict=True) if record.finite
    ]


def _top_of(choice: ChatCompletionChoice) -> list[tuple[str, float]]:
    """The most likely tokens of a choice, where logs of release 0.1.0 hold those of each arm."""
    content = choice.logprobs.content if choice.logprobs else []
    return [(entry.token, entry.logprob) for entry in content[0].top_logprobs or []] if content else []


def completion(model: str, arm: str, top: Sequence[tuple[str, float]]) -> ChatCompletionChoice:
    """One arm as a completion: its most likely token. The message's id is the arm's name."""
    message = ChatMessageAssistant(id=arm, content=top[0][0] if top else "(not finite)", model=model, source="generate")
    return ChatCompletionChoice(message=message, stop_reason="max_tokens" if top else "unknown")
