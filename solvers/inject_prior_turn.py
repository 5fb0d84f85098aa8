"""Inject a concept while the prior turn's KV cache is filled, then ask with the injection off."""

from typing import Any

from inspect_ai.log import transcript
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.battery import Bank
from introbench.measures import arm_table
from introbench.provider import read_output, trial_spec


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
        readings = read_output(state.output)
        if readings:
            transcript().info(arm_table(readings), source="arms")
        return state

    return solve
