"""Continue a chat under active steering, by several vectors at several strengths."""

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.provider.calls import ContinuationSpec
from introbench.records.arm import rows_of
from introbench.records.factors import ContinuationFactors


@solver
def continue_steered(arm_batches: list[str], seeds: list[int], length: int, temperature: float) -> Solver:
    """Continue a sample's chat under each of its arms in one model call.

    A sample's metadata are its factors, see `introbench.records.factors.ContinuationFactors`.

    Args:
        arm_batches: The arm batches of the task, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        seeds: Seeds of the texts, the same for every arm.
        length: Most tokens of a text.
        temperature: 0 for the most likely token.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        factors = ContinuationFactors.from_json(state.metadata)
        batch = arm_batches[factors.arm_batch]
        spec = ContinuationSpec(batch, rows_of(factors.arms), factors.words, seeds, length, temperature)
        config = GenerateConfig(max_tokens=length, extra_body={"continuation": spec.to_json()})
        state.output = await get_model().generate(state.messages, config=config)
        return state

    return solve
