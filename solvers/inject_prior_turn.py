"""Inject a concept while the prior turn's KV cache is filled, then ask with the injection off."""

from collections.abc import Sequence
from typing import Any

from inspect_ai.log import transcript
from inspect_ai.model import ChatMessage, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.prompts.answers import Answers
from introbench.provider.calls import Asking, TrialSpec, asked_together
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.report.markdown import arm_table

QUESTIONS_TOGETHER = 64
"""How many of the task's questions are run as one: enough to share nearly all that can be shared."""


@solver
def inject_prior_turn(arm_batches: list[str], questions: dict[str, list[dict[str, Any]]]) -> Solver:
    """Run all arms of a trial in one model call: the sham, the concept, the random vectors.

    A sample's metadata are its factors, see `introbench.records.factors.TrialFactors`.

    Args:
        arm_batches: The arm batches of the task, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        questions: What the task asks after its prior turns: `messages` and `answers`, by group, see
            `introbench.tasks.trials.question_groups`. Those that stand near each other in a group are run as one.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        factors = TrialFactors.from_json(state.metadata)
        prior_messages, answers = factors.prior_messages, Answers.from_json(factors.answers)
        spec = TrialSpec(prior_messages, arm_batches[factors.arm_batch], factors.rows, answers, factors.silent)
        config = GenerateConfig(max_tokens=1, logprobs=True, extra_body={"injection": spec.to_json()})
        messages = list(state.messages)
        near = questions[factors.asked_with]
        with asked_together(lambda: _run_as_one(messages, prior_messages, answers, near)):
            state.output = await get_model().generate(state.messages, config=config)
        readings = [] if factors.silent else read_output(state.output)
        if readings and set(readings[0].answers) <= {"yes", "no"}:
            transcript().info(arm_table(readings), source="arms")
        return state

    return solve


def _run_as_one(
    messages: Sequence[ChatMessage], prior_messages: int, answers: Answers, questions: Sequence[dict[str, Any]]
) -> list[Asking]:
    """The conversations that are run together with a sample's: its prior turn with the questions near it."""
    turns = tuple((message.role, message.text) for message in messages)
    prior, this = turns[:prior_messages], (turns[prior_messages:], answers)
    asked = [_asking(question) for question in questions]
    if this not in asked:
        return []
    start = asked.index(this) // QUESTIONS_TOGETHER * QUESTIONS_TOGETHER
    return [(prior + question, read) for question, read in asked[start : start + QUESTIONS_TOGETHER]]


def _asking(question: dict[str, Any]) -> Asking:
    turns = tuple((message["role"], message["content"]) for message in question["messages"])
    return turns, Answers.from_json(question["answers"])
