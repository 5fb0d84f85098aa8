"""Inject a trial's thoughts as `inject_prior_turn` does, and run no questions of other parts along with its own."""

from typing import Any

from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.solvers.inject_prior_turn import inject_prior_turn


@solver
def inject_by_part(banks: list[str], questions: dict[str, list[dict[str, Any]]]) -> Solver:
    """Run all arms of a trial in one model call, together with the questions of its `part` alone.

    Args:
        banks: The banks of the task, as `introbench.bank.bank_text` writes them.
        questions: For each part, what is asked after its prior turns; see `inject_prior_turn`.
    """
    by_part = {part: inject_prior_turn(banks, each) for part, each in questions.items()}

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await by_part[state.metadata["part"]](state, generate)

    return solve
