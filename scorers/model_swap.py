"""How far each arm of a trial moves its answer toward yes, where arms are compared rather than concepts."""

import math
from collections.abc import Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_lens import arm_lenses, exact_lens, lens_peak
from introbench.analysis.model_swap import SwapRun, compared_arms, exact_numbers, shifts_toward_yes
from introbench.analysis.noticed import ScoredTrial
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import arm_table, lens_table, published_form
from introbench.scorers.metric_values import MOST_METRICS, scored_trials
from introbench.stats.intervals import NOT_MEASURED


@metric(scores="unreduced")
def introspection_by_arm() -> Metric:
    """How much more introspection moves than control questions under the reference document, in nats.

    `noticed` is the contrast of the fine-tune's arm, with its interval over questions; beside it the same contrast of
    the other arms, without intervals. The control questions are the matched ones where they were asked. Where the lens
    was read, the numbers of the fine-tune's arm follow: the layer of its largest gap, the gap there, and how much of it
    the last layers take away.
    """

    def compute(scores: list[SampleScore]) -> Value:
        trials = scored_trials(scores)
        headlines = SwapRun(trials).headlines() if trials else []
        first = headlines[0].interval if headlines else NOT_MEASURED
        lens = _lens(trials)
        others = headlines[1 : MOST_METRICS - 3 - len(lens)]
        return {
            "noticed": first.estimate,
            "low": first.low,
            "high": first.high,
            **{headline.name: headline.interval.estimate for headline in others},
            "questions": first.units,
            **lens,
        }

    return compute


@scorer(metrics=[introspection_by_arm()], name=recorded_name("arm_shifts"))
def arm_shifts() -> Scorer:
    """Score a trial by the shift in log-odds of every arm against the sham.

    The value holds the trial's `document` and `family`, and one rounded shift per arm, signed so that "noticed" is
    positive on introspection questions; random vectors are averaged as `random`. Exact numbers are in the score's
    metadata, with those of every layer where answers were read after every block.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        names = compared_arms(factors.arms)
        if "sham" not in readings:
            return Score(
                value={**factors.question.groups, **dict.fromkeys(names, math.nan)},
                reason="not_finite",
                explanation="There are no finite numbers. Lower the strength, or load it with -M dtype=float32.",
            )
        sham, first = readings["sham"], readings.get(names[0], readings["sham"])
        log_odds = {arm: reading.log_odds for arm, reading in readings.items()}
        exact = exact_numbers(factors.question, shifts_toward_yes(factors.arms, log_odds))
        tables = [arm_table(list(readings.values()))]
        if sham.lens:
            lens = exact_lens(factors, readings)
            exact |= {"lens": lens}
            shown = {name: values for name, values in lens["p_yes"].items() if name in readings}
            tables.append(lens_table(shown, {name: readings[name].log_odds_by_layer for name in shown}))
        return Score(
            value=factors.question.groups | {arm: round(shift, 3) for arm, shift in exact["shifts"].items()},
            answer="yes" if first.log_odds > 0 else "no",
            explanation="\n\n".join((f"yes {published_form(sham.p_yes, first.p_yes)} under {first.arm}", *tables)),
            metadata={
                **exact,
                "log_odds": log_odds,
                "p_yes": {arm: reading.p_yes for arm, reading in readings.items()},
                "p_no": {arm: reading.p_no for arm, reading in readings.items()},
            },
        )

    return score


def _lens(trials: Sequence[ScoredTrial]) -> dict[str, float]:
    """What the lens says of the fine-tune's arm under the reference document; empty where it was not read."""
    lenses = arm_lenses(trials)
    if not lenses:
        return {}
    top = lens_peak(*next(iter(lenses.items())))
    return {
        "lens: peak layer": top.layer.estimate,
        "lens: peak gap": top.gap.estimate,
        "lens: lost": top.suppression.estimate,
    }
