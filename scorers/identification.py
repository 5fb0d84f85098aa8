"""Which concept the model says was injected: picked from a list, or named."""

import math
from collections.abc import Mapping

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.identification import NOTHING, Identification, first_of_parts
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import options_table
from introbench.scorers.metric_values import MOST_METRICS, scored_trials

METRICS = ("bits beyond random", "p-value", "bits", "ceiling", "accuracy", "missing")
"""Names of the metrics of a part."""


@metric(scores="unreduced")
def reported_information() -> Metric:
    """Bits about concepts beyond those about random vectors, in each part, under the reference document; see the table.

    `bits beyond random` is what counts, with its p-value: random vectors shift answers, too. `bits` is the mutual
    information between what was injected and what was reported, `ceiling` that of a perfect reporter, and `accuracy`
    the mean probability of the injected concept.
    """

    def compute(scores: list[SampleScore]) -> Value:
        trials = scored_trials(scores)
        found: dict[str, Identification] = first_of_parts(trials) if trials else {}
        parts: dict[str, Identification | None] = {**found} if found else {"": None}
        values: dict[str, float] = {}
        for part, identified in list(parts.items())[: MOST_METRICS // len(METRICS)]:
            suffix = f" | {part}" if part else ""
            numbers = _numbers(identified) if identified else dict.fromkeys(METRICS, math.nan)
            values |= {f"{name}{suffix}": number for name, number in numbers.items()}
        return values

    return compute


@scorer(metrics=[reported_information()], name=recorded_name("identified"))
def identified() -> Scorer:
    """Score a trial by how probable the injected concept is among the options.

    The value holds the trial's `document` and `family`, `p` and `p_sham` (probability of the injected concept among the
    options, injected and sham), `rank` (of the injected concept, 1 is first), `p_nothing` (NaN if that is no option)
    and `mass` (probability of all options together). The answer is the most likely option. What every arm reports is in
    the metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return Score(
                value={
                    **factors.question.groups,
                    **dict.fromkeys(("p", "p_sham", "rank", "p_nothing", "mass"), math.nan),
                },
                reason="not_finite",
                explanation="The model's numbers are not finite. Lower the strength, or load it with -M dtype=float32.",
            )
        options, concept = factors.question.options, factors.concept
        arms = {arm: _among(reading.answers, options) for arm, reading in readings.items()}
        report = arms["concept"]
        label = next(label for label, name in options.items() if name == concept)
        ranked = sorted(report, key=lambda name: -report[name])
        return Score(
            value={
                **factors.question.groups,
                "p": round(report[concept], 4),
                "p_sham": round(arms["sham"][concept], 4),
                "rank": ranked.index(concept) + 1,
                "p_nothing": round(report.get(NOTHING, math.nan), 4),
                "mass": round(sum(map(math.exp, readings["concept"].answers.values())), 4),
            },
            answer=ranked[0] or "nothing",
            explanation=options_table(arms, {arm: reading.answers for arm, reading in readings.items()}, options),
            metadata={
                "arms": arms,
                "lens": _lens_among(readings["concept"], options),
                "own": {arm: list(readings[arm].lens[label]) for arm in readings},
            },
        )

    return score


def _among(answers: Mapping[str, float], options: Mapping[str, str]) -> dict[str, float]:
    """Probability of each option among the options, from the log-probabilities of their labels."""
    most = max(answers.values())
    weights = {options[label]: math.exp(value - most) for label, value in answers.items()}
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _lens_among(reading: ArmReading, options: Mapping[str, str]) -> dict[str, list[float]]:
    values = np.array([reading.lens[label] for label in options])
    weights = np.exp(values - values.max(axis=0))
    return dict(zip(options.values(), (weights / weights.sum(axis=0)).tolist(), strict=True))


def _numbers(identified: Identification) -> dict[str, float]:
    bits, beyond = identified.information, identified.beyond_random
    values = (
        bits.bits - identified.random_bits,
        beyond.p_value if beyond else math.nan,
        bits.bits,
        bits.ceiling,
        bits.accuracy,
        identified.missing,
    )
    return dict(zip(METRICS, values, strict=True))
