"""How far each arm of a trial moves its answer toward yes, where arms are compared rather than concepts."""

import math

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.model_swap import SwapRun, compared_arms, exact_numbers, shifts_toward_yes
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.metric_values import result_values, scored_trials


@metric(scores="unreduced")
def introspection_by_arm(seed: int = 0) -> Metric:
    """Introspection against control questions for every arm, with 95% intervals over questions.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return result_values(SwapRun(scored_trials(scores), seed).contrasts()) if scores else {}

    return compute


@metric(scores="unreduced")
def shift_by_arm(seed: int = 0) -> Metric:
    """Mean shift of every arm for every document and question family, with a 95% interval over questions.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return result_values(SwapRun(scored_trials(scores), seed).shifts()) if scores else {}

    return compute


@scorer(metrics=[introspection_by_arm(), shift_by_arm()])
def arm_shifts() -> Scorer:
    """Score a trial by the shift in log-odds of every arm against the sham.

    The value holds one rounded shift per arm, signed so that "noticed" is positive on introspection questions; random
    vectors are averaged as `random`. Exact numbers are in the score's metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        names = compared_arms(factors.arms)
        if "sham" not in readings:
            return Score(
                value=dict.fromkeys(names, math.nan),
                reason="not_finite",
                explanation="There are no finite numbers. Lower the strength, or load it with -M dtype=float32.",
            )
        sham, first = readings["sham"], readings.get(names[0], readings["sham"])
        log_odds = {arm: reading.log_odds for arm, reading in readings.items()}
        exact = exact_numbers(factors.question, shifts_toward_yes(factors.arms, log_odds))
        return Score(
            value={arm: round(noticed, 3) for arm, noticed in exact["shifts"].items()},
            answer="yes" if first.log_odds > 0 else "no",
            explanation=f"yes {published_form(sham.p_yes, first.p_yes)} under {first.arm}\n\n"
            f"{arm_table(list(readings.values()))}",
            metadata={
                **exact,
                "log_odds": log_odds,
                "p_yes": {arm: reading.p_yes for arm, reading in readings.items()},
                "p_no": {arm: reading.p_no for arm, reading in readings.items()},
            },
        )

    return score
