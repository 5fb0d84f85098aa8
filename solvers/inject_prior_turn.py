"""Inject a concept while the prior turn's KV cache is filled, then ask with the injection off."""

from typing import Any

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.prompts.answers import Answers
from introbench.provider.arm_batches import name_of
from introbench.provider.calls import TrialSpec, asked_together, asking_of, run_as_one
from introbench.records.factors import TrialFactors


@solver
def inject_prior_turn(arm_batches: list[str], questions: dict[str, list[dict[str, Any]]]) -> Solver:
    """Run all arms of a trial in one model call: the sham, the concept, the random vectors.

    A sample's metadata are its factors, see `introbench.records.factors.TrialFactors`.

    Args:
        arm_batches: The arm batches of the task, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        questions: What the task asks after its prior turns: `messages` and `answers`, by group, see
            `introbench.tasks.trials.question_groups`. Those that stand near each other in a group are run as one.
    """
    names = [name_of(batch) for batch in arm_batches]

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        factors = TrialFactors.from_json(state.metadata)
        prior_messages, answers = factors.prior_messages, Answers.from_json(factors.answers)
        spec = TrialSpec(prior_messages, names[factors.arm_batch], factors.rows, answers, factors.silent)
        config = GenerateConfig(max_tokens=1, extra_body={"injection": spec.to_json()})
        turns = tuple((message.role, message.text) for message in state.messages)
        prior, this = turns[:prior_messages], (turns[prior_messages:], answers)
        near = questions[factors.asked_with]
        with asked_together(lambda: run_as_one(prior, this, [asking_of(question) for question in near])):
            state.output = await get_model().generate(state.messages, config=config)
        return state

    return solve
