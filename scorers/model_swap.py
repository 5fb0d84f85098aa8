"""How far each arm of a trial moves its answer toward yes, where arms are compared rather than concepts."""

import math

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.model_swap import SwapRun, compared_arms, exact_numbers, shifts_toward_yes
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.metric_values import MOST_METRICS, scored_trials
from introbench.stats.intervals import NOT_MEASURED


@metric(scores="unreduced")
def introspection_by_arm() -> Metric:
    """How much more introspection moves than control questions under the reference document, in nats.

    `noticed` is the contrast of the fine-tune's arm, with its interval over questions; beside it the same contrast of
    the other arms, without intervals. The control questions are the matched ones where they were asked.
    """

    def compute(scores: list[SampleScore]) -> Value:
        headlines = SwapRun(scored_trials(scores)).headlines() if scores else []
        first = headlines[0].interval if headlines else NOT_MEASURED
        others = {headline.name: headline.interval.estimate for headline in headlines[1 : MOST_METRICS - 3]}
        return {
            "noticed": first.estimate,
            "low": first.low,
            "high": first.high,
            **others,
            "questions": first.units,
        }

    return compute


@scorer(metrics=[introspection_by_arm()], name=recorded_name("arm_shifts"))
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
