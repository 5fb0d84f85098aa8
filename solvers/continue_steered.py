"""Continue a chat under active steering, by several vectors at several strengths."""

from typing import Any

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.provider.calls import ContinuationSpec


@solver
def continue_steered(banks: list[str], seeds: list[int], length: int, temperature: float) -> Solver:
    """Continue a sample's chat under each of its arms in one model call.

    A sample's metadata give its `concept`, its `bank` (an index) and its `arms` (names, and rows of the bank).

    Args:
        banks: The banks of the task, as `introbench.steering.arms.bank_text` writes them.
        seeds: Seeds of the texts, the same for every arm.
        length: Most tokens of a text.
        temperature: 0 for the most likely token.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        factors: dict[str, Any] = state.metadata
        spec = ContinuationSpec(banks[factors["bank"]], factors["arms"], factors["concept"], seeds, length, temperature)
        config = GenerateConfig(max_tokens=length, extra_body={"continuation": spec.to_json()})
        state.output = await get_model().generate(state.messages, config=config)
        return state

    return solve
