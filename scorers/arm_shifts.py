"""How far each arm of a trial moves its answer toward yes, where arms are compared rather than concepts."""

import math
from collections.abc import Mapping
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.arm_contrasts import ArmTrial
from introbench.arm_contrasts import arm_contrasts as contrasts_of_arms
from introbench.arm_contrasts import arm_shifts as shifts_of_arms
from introbench.measures import arm_table, published_form
from introbench.provider import read_output
from introbench.scorers.yes_shift import RANDOM_ARM, plan_of, result_values


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


def compared_arms(factors: Mapping[str, Any]) -> list[str]:
    """The arms that are compared with the sham; random vectors count as one."""
    named = [arm for arm in factors["arms"] if arm != "sham" and not RANDOM_ARM.fullmatch(arm)]
    return [*named, "random"] if any(RANDOM_ARM.fullmatch(arm) for arm in factors["arms"]) else named


def arm_trial(factors: Mapping[str, Any], score: Score) -> ArmTrial:
    """One trial's shifts from its factors and its score."""
    return ArmTrial(
        document=factors["document"],
        family=factors["family"],
        item=factors["question"],
        answer_format=factors["format"],
        sign=-1.0 if factors["reversed"] else 1.0,
        shifts=(score.metadata or {}).get("shifts", {}),
    )
