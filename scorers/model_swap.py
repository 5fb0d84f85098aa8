"""How far each arm of a trial moves its answer toward yes, where arms are compared rather than concepts."""

import math

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.model_swap import arm_contrasts as contrasts_of_arms
from introbench.analysis.model_swap import arm_shifts as shifts_of_arms
from introbench.analysis.model_swap import arm_trial, compared_arms
from introbench.analysis.shifts import plan_of
from introbench.provider.outputs import read_output
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.introspection import RANDOM_ARM
from introbench.scorers.metric_values import result_values


@metric(scores="unreduced")
def introspection_by_arm(seed: int = 0) -> Metric:
    """Introspection against control questions for every arm, with 95% intervals over questions.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        if not scores:
            return {}
        trials = [arm_trial(score.sample_metadata or {}, score.score) for score in scores]
        factors = scores[0].sample_metadata or {}
        return result_values(contrasts_of_arms(trials, compared_arms(factors), plan_of(factors), seed=seed))

    return compute


@metric(scores="unreduced")
def shift_by_arm(seed: int = 0) -> Metric:
    """Mean shift of every arm for every document and question family, with a 95% interval over questions.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        if not scores:
            return {}
        trials = [arm_trial(score.sample_metadata or {}, score.score) for score in scores]
        factors = scores[0].sample_metadata or {}
        return result_values(shifts_of_arms(trials, compared_arms(factors), plan_of(factors), seed=seed))

    return compute


@scorer(metrics=[introspection_by_arm(), shift_by_arm()])
def arm_shifts() -> Scorer:
    """Score a trial by the shift in log-odds of every arm against the sham.

    The value holds one rounded shift per arm, signed so that "noticed" is positive on introspection questions; random
    vectors are averaged as `random`. Exact numbers are in the score's metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        sign = -1.0 if state.metadata["reversed"] else 1.0
        recorded = (state.output.metadata or {}).get("arms")
        readings = {reading.arm: reading for reading in read_output(state.output)} if recorded else {}
        names = compared_arms(state.metadata)
        if "sham" not in readings:
            return Score(
                value=dict.fromkeys(names, math.nan),
                reason="not_finite",
                explanation="There are no finite numbers. Lower the strength, or load it with -M dtype=float32.",
            )
        sham = readings["sham"]
        single = {arm: sign * (reading.log_odds - sham.log_odds) for arm, reading in readings.items() if arm != "sham"}
        random = [single.get(arm, math.nan) for arm in state.metadata["arms"] if RANDOM_ARM.fullmatch(arm)]
        shifts = {arm: single.get(arm, math.nan) for arm in names if arm != "random"}
        if random:
            shifts["random"] = sum(random) / len(random)
        first = readings.get(names[0], sham)
        return Score(
            value={arm: round(shift, 3) for arm, shift in shifts.items()},
            answer="yes" if first.log_odds > 0 else "no",
            explanation=f"yes {published_form(sham.p_yes, first.p_yes)} under {first.arm}\n\n"
            f"{arm_table(list(readings.values()))}",
            metadata={
                "shifts": shifts,
                "log_odds": {arm: reading.log_odds for arm, reading in readings.items()},
                "p_yes": {arm: reading.p_yes for arm, reading in readings.items()},
                "p_no": {arm: reading.p_no for arm, reading in readings.items()},
            },
        )

    return score
