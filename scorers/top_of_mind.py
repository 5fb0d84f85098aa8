"""What a steered model goes on to write: concept words, repetition, and how likely it is without steering."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.measures import markdown
from introbench.mind import Strength, Texts, by_strength, measure


@metric(scores="unreduced")
def liveness() -> Metric:
    """For every strength: how many vectors are live, how many texts coherent, and the means behind it."""

    def compute(scores: list[SampleScore]) -> Value:
        judged = [judged_strengths(score.score) for score in scores]
        values: dict[str, float] = {"live vectors": sum(any(s.live for s in each.values()) for each in judged)}
        for strength in dict.fromkeys(name for each in judged for name in each):
            several = [each[strength] for each in judged if strength in each]
            values |= {
                f"live | {strength}": sum(each.live for each in several),
                f"coherent | {strength}": sum(each.coherent for each in several),
                f"concept words | {strength}": float(np.mean([each.own.share for each in several])),
                f"concept words, random | {strength}": float(np.mean([each.random.share for each in several])),
                f"repetition | {strength}": float(np.mean([each.own.repetition for each in several])),
                f"log-prob per token | {strength}": float(np.mean([each.own.logprob for each in several])),
            }
        return values

    return compute


@scorer(metrics=[liveness()])
def top_of_mind_texts() -> Scorer:
    """Score a concept's texts at every strength.

    The value holds `live` (1 if the concept came to mind at any strength), `live_from` (the lowest such strength, as
    its place among the strengths, counted from 1; NaN if none), `coherent_to` (how many strengths from the lowest on
    leave the text coherent) and `share` (largest share of concept words). Texts are in the explanation and the output.
    """

    async def score(state: TaskState, target: Target) -> Score:
        concept = state.metadata["concept"]
        recorded = {record["arm"]: record for record in (state.output.metadata or {}).get("arms", [])}
        measured = {
            arm: measure(record["texts"], record["mean_logprobs"], concept, record["finite"])
            for arm, record in recorded.items()
        }
        judged = by_strength(measured, state.metadata["strengths"], concept)
        lives = [place for place, each in enumerate(judged.values(), start=1) if each.live]
        broken = [place for place, each in enumerate(judged.values()) if not each.coherent]
        return Score(
            value={
                "live": int(bool(lives)),
                "live_from": lives[0] if lives else math.nan,
                "coherent_to": broken[0] if broken else len(judged),
                "share": round(max(each.own.share for each in judged.values()), 3),
            },
            answer="live" if lives else "not live",
            explanation=_explanation(recorded, measured, judged),
            metadata={
                "measured": {arm: [each.share, each.repetition, each.logprob] for arm, each in measured.items()},
                "judged": {strength: [each.live, each.coherent] for strength, each in judged.items()},
                "strengths": dict(state.metadata["strengths"]),
            },
        )

    return score


def judged_strengths(score: Score) -> dict[str, Strength]:
    """What a score says about every strength."""
    exact = score.metadata or {}
    measured = {arm: Texts(*map(_number, values)) for arm, values in exact.get("measured", {}).items()}
    return by_strength(measured, exact.get("strengths", {}), "") if measured else {}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _explanation(
    recorded: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Texts], judged: Mapping[str, Strength]
) -> str:
    headers = ["arm", "strength", "concept words", "repetition", "log-prob per token", "first text"]
    rows: list[Sequence[str]] = [headers, ["---"] * len(headers)]
    for arm, each in measured.items():
        text = recorded[arm]["texts"][0].replace("\n", " ").replace("|", "\\|")
        strength = f"{recorded[arm]['strength']:g}"
        rows.append([arm, strength, f"{each.share:.1%}", f"{each.repetition:.1%}", f"{each.logprob:.2f}", text])
    verdicts = ", ".join(
        f"{strength}: {'live' if each.live else 'not live'}, {'coherent' if each.coherent else 'not coherent'}"
        for strength, each in judged.items()
    )
    return f"{verdicts}\n\n{markdown(rows)}"
