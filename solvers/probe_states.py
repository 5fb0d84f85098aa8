"""Ask all questions of a prior turn under all arms, and probe the states that they are answered from."""

from typing import Any

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.provider.calls import ProbeSpec


@solver
def probe_states(arm_batch: str, questions: list[dict[str, Any]], openings: dict[str, list[dict[str, str]]]) -> Solver:
    """Run all arms and questions of a document in one model call. A sample's metadata give its `document`.

    Args:
        arm_batch: The injections, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        questions: What is asked after every prior turn; see `introbench.provider.probe_record.ProbeSpec`.
        openings: The prior turn of every document.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        elsewhere = [turns for name, turns in openings.items() if name != state.metadata["document"]]
        spec = ProbeSpec(arm_batch, questions, elsewhere)
        config = GenerateConfig(max_tokens=1, extra_body={"probe": spec.to_json()})
        state.output = await get_model().generate(state.messages, config=config)
        return state

    return solve
