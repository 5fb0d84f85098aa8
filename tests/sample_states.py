"""Samples as a scorer meets them: factors, and an output with the log-probabilities that a test writes by hand."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelName, ModelOutput
from inspect_ai.scorer import Score, Scorer, Target
from inspect_ai.solver import TaskState

from introbench.records.arm_record import ArmRecord
from introbench.records.factors import TrialFactors

Probabilities = Mapping[str, float]
"""Probability of each answer; every answer has one form."""


def arm_record(
    arm: str, answers: Probabilities | None, lens: Mapping[str, list[float]] | None = None, live: bool | None = None
) -> ArmRecord:
    """What the provider records of an arm; its numbers are not finite without answers."""
    return ArmRecord(
        arm=arm,
        vector=f"vector of {arm}",
        sha256=None,
        strength=8.0,
        dose=0.25,
        live=live,
        finite=answers is not None,
        logprobs={name: [math.log(probability)] for name, probability in (answers or {}).items()},
        lens=lens or {},
    )


def trial_state(factors: TrialFactors, records: list[ArmRecord]) -> TaskState:
    """A sample after the model's call, with one choice for each arm."""
    message = ChatMessageAssistant(content="Yes", model="tiny", source="generate")
    output = ModelOutput(
        model="tiny",
        choices=[ChatCompletionChoice(message=message) for _ in records],
        metadata={"arms": [_with_all_digits(record) for record in records]},
    )
    return TaskState(ModelName("inject/tiny"), "id", 1, "question", [], output=output, metadata=factors.to_json())


def _with_all_digits(record: ArmRecord) -> dict[str, Any]:
    """A record as logs of release 0.1.0 hold it, so that tests can compare with exact numbers."""
    return record.to_json() | ({"logprobs": dict(record.logprobs)} if record.finite else {})


def scored(scorer: Scorer, state: TaskState) -> Score:
    """What a scorer makes of a sample."""
    score = asyncio.run(scorer(state, Target("")))
    assert isinstance(score, Score)
    return score
