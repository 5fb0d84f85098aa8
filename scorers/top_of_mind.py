"""What a steered model goes on to write: concept words, repetition, and how likely it is without steering."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.top_of_mind import Texts, VectorEffect, judged_by_strength, judged_strengths, measure
from introbench.records.arm_record import number_or_nan
from introbench.report.markdown import markdown


@metric(scores="unreduced")
def liveness() -> Metric:
    """How many vectors are live at the reference strength; for every strength, how many, and the means behind it."""

    def compute(scores: list[SampleScore]) -> Value:
        judged = [judged_strengths(score.score.metadata or {}) for score in scores]
        reference = [(score.sample_metadata or {})["reference"] for score in scores]
        values: dict[str, float] = {
            "live vectors": sum(
                strengths[name].live for strengths, name in zip(judged, reference, strict=True) if strengths
            )
        }
        for strength in dict.fromkeys(name for each in judged for name in each):
            several = [each[strength] for each in judged if strength in each]
            means = {
                "gain of the word": [each.gain for each in several],
                "gain of the word, random": [each.random_gain for each in several],
                "concept words": [each.texts.share for each in several],
                "concept words, random": [each.random_texts.share for each in several],
                "repetition": [each.texts.repetition for each in several],
                "log-prob per token": [each.texts.logprob for each in several],
            }
            values[f"live | {strength}"] = sum(each.live for each in several)
            values[f"coherent | {strength}"] = sum(each.coherent for each in several)
            values |= {f"{name} | {strength}": float(np.mean(each)) for name, each in means.items()}
        return values

    return compute


@scorer(metrics=[liveness()])
def top_of_mind_texts() -> Scorer:
    """Score a concept's vector and texts at every strength.

    The value holds `gain` (how much likelier the concept's word is than under the sham, in nats, at the reference
    strength: the model's own, or the largest), `random_gain` (the most under a random vector), `live` (1 if the first
    is larger, and above 0), `coherent_to` (how many strengths from the lowest on leave the texts coherent) and `share`
    (largest share of concept words). Texts are in the explanation and the output.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors, output = state.metadata, state.output.metadata or {}
        recorded = {record["arm"]: record for record in output.get("arms", [])}
        if not recorded:
            return Score(
                value=dict.fromkeys(("gain", "random_gain", "live", "coherent_to", "share"), math.nan),
                reason="no_output",
                explanation="The sample ended before anything was written.",
            )
        measured = {
            arm: measure(record["texts"], record["mean_logprobs"], factors["concept"], record["finite"])
            for arm, record in recorded.items()
        }
        words = [number_or_nan(word) for word in output["words"]]
        exact = {
            "measured": {arm: [t.share, t.repetition, t.words, t.logprob] for arm, t in measured.items()},
            "gains": {strength: [words[row] - words[0] for row in rows] for strength, rows in factors["rows"].items()},
            "strengths": dict(factors["strengths"]),
            "doses": {strength: recorded[own]["dose"] for strength, (own, *_) in factors["strengths"].items()},
            "norms": {strength: recorded[own]["strength"] for strength, (own, *_) in factors["strengths"].items()},
        }
        judged = judged_by_strength(exact)
        own = judged[factors["reference"]]
        broken = [place for place, each in enumerate(judged.values()) if not each.coherent]
        return Score(
            value={
                "gain": round(own.gain, 2),
                "random_gain": round(own.random_gain, 2),
                "live": int(own.live),
                "coherent_to": broken[0] if broken else len(judged),
                "share": round(max(each.texts.share for each in judged.values()), 3),
            },
            answer="live" if own.live else "not live",
            explanation=_explanation(recorded, measured, judged),
            metadata=exact,
        )

    return score


def _explanation(
    recorded: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Texts], judged: Mapping[str, VectorEffect]
) -> str:
    headers = ["arm", "strength", "concept words", "repetition", "log-prob per token", "first text"]
    rows: list[Sequence[str]] = [headers, ["---"] * len(headers)]
    for arm, each in measured.items():
        text = recorded[arm]["texts"][0].replace("\n", " ").replace("|", "\\|")
        strength = f"{number_or_nan(recorded[arm]['strength']):g}"
        rows.append([arm, strength, f"{each.share:.1%}", f"{each.repetition:.1%}", f"{each.logprob:.2f}", text])
    verdicts = ", ".join(
        f"{strength}: {'live' if each.live else 'not live'} ({each.gain:+.1f} nats, random at most "
        f"{each.random_gain:+.1f}), {'coherent' if each.coherent else 'not coherent'}"
        for strength, each in judged.items()
    )
    return f"{verdicts}\n\n{markdown(rows)}"
