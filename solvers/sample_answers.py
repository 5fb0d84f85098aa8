"""Sample answers to a question, under several vectors at several layers and strengths."""

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.provider.calls import SamplingSpec
from introbench.records.arm import rows_of
from introbench.records.sampled_factors import SampledFactors


@solver
def sample_answers(arm_batches: list[str], length: int, temperature: float) -> Solver:
    """Sample answers to a sample's chat under each of its arms in one model call.

    A sample's metadata are its factors, see `introbench.records.sampled_factors.SampledFactors`.

    Args:
        arm_batches: The arm batches of the task, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        length: Most tokens of an answer.
        temperature: 0 for the most likely token.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        factors = SampledFactors.from_json(state.metadata)
        spec = SamplingSpec(
            arm_batch=arm_batches[factors.arm_batch],
            arms=rows_of(factors.arms),
            seeds=factors.seeds,
            length=length,
            temperature=temperature,
            prior_messages=factors.prior_messages,
            protocol=factors.protocol,
            begins=factors.begins,
        )
        config = GenerateConfig(max_tokens=length, extra_body={"sampling": spec.to_json()})
        state.output = await get_model().generate(state.messages, config=config)
        return state

    return solve
