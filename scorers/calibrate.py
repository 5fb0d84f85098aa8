"""Dose and response: what each strength does to neutral answers and to steered texts, and which one to take."""

import math

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.calibrate import proposed, responses
from introbench.records.scores import recorded_name
from introbench.scorers.top_of_mind import top_of_mind_texts


@metric(scores="unreduced")
def proposal() -> Metric:
    """The proposed strength, as a norm and as a dose in nats; how many vectors are live there, and how many coherent.

    NaN where no strength is proposed. `vectors` is how many vectors were tried.
    """

    def compute(scores: list[SampleScore]) -> Value:
        by_strength = responses([score.score.metadata or {} for score in scores])
        best = proposed(by_strength)
        return {
            "proposed norm": float(np.mean(best.norms)) if best else math.nan,
            "proposed dose": float(np.mean(best.doses)) if best else math.nan,
            "live": best.live if best else math.nan,
            "coherent": best.coherent if best else math.nan,
            "vectors": len(scores) if scores else math.nan,
        }

    return compute


@scorer(metrics=[proposal()], name=recorded_name("dose_response"))
def dose_response() -> Scorer:
    """Score a concept's vector and texts at every strength, as `top_of_mind_texts` does, with its doses."""
    texts = top_of_mind_texts()

    async def score(state: TaskState, target: Target) -> Score | None:
        return await texts(state, target)

    return score
