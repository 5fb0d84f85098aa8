"""Inject a concept while the prior turn's KV cache is filled, then ask with the injection off."""

from typing import Any

from inspect_ai.log import transcript
from inspect_ai.model import GenerateConfig, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.battery import Bank
from introbench.measures import ArmReading, arm_readings, arm_table
from introbench.provider import trial_spec


@solver
def inject_prior_turn(banks: list[dict[str, Any]]) -> Solver:
    """Run all arms of a trial in one model call: the sham, the concept, and the random vectors.

    A sample's metadata name its `concept`, its `bank`, the number of `prior_messages`, and the answer `forms`.

    Args:
        banks: The banks of the task, as `introbench.battery.Bank.to_json` writes them.
    """
    parsed = [Bank.from_json(values) for values in banks]

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        bank = parsed[state.metadata["bank"]]
        spec = trial_spec(
            prior_messages=state.metadata["prior_messages"],
            bank=bank.injections,
            arms=bank.arms(state.metadata["concept"]),
            forms=state.metadata["forms"],
        )
        config = GenerateConfig(max_tokens=1, logprobs=True, extra_body={"injection": spec})
        state.output = await get_model().generate(state.messages, config=config)
        readings = output_readings(state.output)
        if readings:
            transcript().info(arm_table(readings), source="arms")
        return state

    return solve


def output_readings(output: ModelOutput) -> list[ArmReading]:
    """The finite arms of a provider's output."""
    if not output.metadata:
        return []
    top = []
    for choice in output.choices:
        content = choice.logprobs.content if choice.logprobs else []
        tokens = content[0].top_logprobs or [] if content else []
        top.append([(entry.token, entry.logprob) for entry in tokens])
    return arm_readings(output.metadata["arms"], top)
