"""What a steered model goes on to write: concept words, repetition, and how likely it is without steering."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.top_of_mind import Texts, VectorEffect, judged_by_strength, measure, reference_effects
from introbench.records.arm import NEGATED
from introbench.records.arm_record import TextRecord, number_or_nan
from introbench.records.factors import ContinuationFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import scored_trials

METRICS = (
    *("live vectors", "coherent", "vectors", "gain of the word", "gain of the word, random"),
    *("concept words", "concept words, random", "repetition", "log-prob per token"),
)
"""Names of the metrics."""


@metric(scores="unreduced")
def liveness() -> Metric:
    """How many vectors are live at the reference strength, how many leave texts coherent, and the means behind it.

    `vectors` is how many wrote texts. `gain of the word` is how much likelier the concept's word is than under the
    sham, in nats; `random` the largest gain under a random vector, on average; `concept words` the share of the words.
    """

    def compute(scores: list[SampleScore]) -> Value:
        effects = [effect for _, effect in reference_effects(scored_trials(scores))]
        if not effects:
            return dict.fromkeys(METRICS, math.nan)
        means = (
            [effect.gain for effect in effects],
            [effect.random_gain for effect in effects],
            [effect.texts.share for effect in effects],
            [effect.random_texts.share for effect in effects],
            [effect.texts.repetition for effect in effects],
            [effect.texts.logprob for effect in effects],
        )
        counts = (sum(effect.live for effect in effects), sum(effect.coherent for effect in effects), len(effects))
        return dict(zip(METRICS, (*counts, *(float(np.mean(numbers)) for numbers in means)), strict=True))

    return compute


@scorer(metrics=[liveness()], name=recorded_name("top_of_mind_texts"))
def top_of_mind_texts() -> Scorer:
    """Score a concept's vector and texts at every strength.

    The value holds `gain` (how much likelier the concept's word is than under the sham, in nats, at the reference
    strength: the model's own, or the largest), `random_gain` (the most under a random vector), `live` (1 if the first
    is larger, and above 0), `coherent_to` (how many strengths from the lowest on leave the texts coherent) and `share`
    (largest share of concept words). Texts are in the explanation and the output; where the opposite of the vector was
    run, the first text under either of them and under the sham is in the metadata, too.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors, output = ContinuationFactors.from_json(state.metadata), state.output.metadata or {}
        records = {record["arm"]: TextRecord.from_json(record) for record in output.get("arms", [])}
        if not records:
            return Score(
                value=dict.fromkeys(("gain", "random_gain", "live", "coherent_to", "share"), math.nan),
                reason="no_output",
                explanation="The sample ended before anything was written.",
            )
        measured = {
            arm: measure(record.texts, record.mean_logprobs, factors.words, record.finite)
            for arm, record in records.items()
        }
        words = [number_or_nan(word) for word in output["words"]]
        of_concept = {strength: records[arms[0]] for strength, arms in factors.strengths.items()}
        exact = {
            "measured": {arm: [t.share, t.repetition, t.words, t.logprob] for arm, t in measured.items()},
            "gains": {strength: [words[row] - words[0] for row in rows] for strength, rows in factors.rows.items()},
            "strengths": {strength: list(arms) for strength, arms in factors.strengths.items()},
            "doses": {strength: record.dose for strength, record in of_concept.items()},
            "norms": {strength: record.strength for strength, record in of_concept.items()},
        }
        if opposites := {arm.place: name for name, arm in factors.arms.items() if arm.kind == NEGATED}:
            shown = ["sham", *(arms[0] for arms in factors.strengths.values()), *opposites.values()]
            exact |= {
                "opposites": opposites,
                "opposite_gains": {
                    place: words[factors.arms[name].row] - words[0] for place, name in opposites.items()
                },
                "texts": {name: records[name].texts[0] for name in shown},
            }
        judged = judged_by_strength(exact)
        effect = judged[factors.reference]
        broken = [place for place, effect in enumerate(judged.values()) if not effect.coherent]
        return Score(
            value={
                "gain": round(effect.gain, 2),
                "random_gain": round(effect.random_gain, 2),
                "live": int(effect.live),
                "coherent_to": broken[0] if broken else len(judged),
                "share": round(max(effect.texts.share for effect in judged.values()), 3),
            },
            answer="live" if effect.live else "not live",
            explanation=_explanation(records, measured, judged),
            metadata=exact,
        )

    return score


def _explanation(
    records: Mapping[str, TextRecord], measured: Mapping[str, Texts], judged: Mapping[str, VectorEffect]
) -> str:
    headers = ["arm", "strength", "concept words", "repetition", "log-prob per token", "first text"]
    rows: list[Sequence[str]] = [headers, ["---"] * len(headers)]
    for arm, texts in measured.items():
        text = records[arm].texts[0].replace("\n", " ").replace("|", "\\|")
        strength = f"{number_or_nan(records[arm].strength):g}"
        rows.append([arm, strength, f"{texts.share:.1%}", f"{texts.repetition:.1%}", f"{texts.logprob:.2f}", text])
    verdicts = ", ".join(
        f"{strength}: {'live' if effect.live else 'not live'} ({effect.gain:+.1f} nats, random at most "
        f"{effect.random_gain:+.1f}), {'coherent' if effect.coherent else 'not coherent'}"
        for strength, effect in judged.items()
    )
    return f"{verdicts}\n\n{markdown(rows)}"
