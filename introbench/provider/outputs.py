"""One arm's record in a model output: written by the provider, read by the scorers."""

import math
from typing import Any

from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Logprob, Logprobs, ModelOutput, TopLogprob

from introbench.analysis.arm_reading import ArmReading, arm_readings
from introbench.engine import Reading


def read_arms(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output without their likely tokens, for arms without choices."""
    arms = (output.metadata or {}).get("arms", [])
    return arm_readings(arms, [()] * len(arms))


def read_output(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output; arms whose numbers are not finite are left out."""
    top = []
    for choice in output.choices:
        content = choice.logprobs.content if choice.logprobs else []
        tokens = content[0].top_logprobs or [] if content else []
        top.append([(entry.token, entry.logprob) for entry in tokens])
    return arm_readings((output.metadata or {})["arms"], top)


def finite_or_none(number: float) -> float | None:
    """A number as a record holds it: JSON has none that are not finite."""
    return number if math.isfinite(number) else None


def arm_choice(model: str, tokenizer: Any, readings: Reading, row: int) -> ChatCompletionChoice:
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
