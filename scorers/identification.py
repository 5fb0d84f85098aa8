"""Which concept the model says was injected: picked from a list, or named."""

import math
from collections.abc import Mapping

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.identification import NOTHING, Identification, identifications, lens_trials
from introbench.analysis.logit_lens import peak
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.report.markdown import options_table
from introbench.scorers.logit_lens import peak_values
from introbench.scorers.metric_values import scored_trials


@metric(scores="unreduced")
def reported_information(seed: int = 0) -> Metric:
    """Mutual information between what was injected and what was reported, by part and document; see the table too.

    What counts is `bits beyond random`, with its p-value: random vectors shift answers, too.

    Args:
        seed: Seed of permutations and bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for (part, document), identified_cell in identifications(scored_trials(scores), seed=seed).items():
            values |= _values(f"{part} | {document}", identified_cell)
        return values

    return compute


@metric(scores="unreduced")
def concept_peaks(seed: int = 0) -> Metric:
    """At which layer the injected concept's own token gains most, by part and document.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        grouped = lens_trials(scored_trials(scores))
        return peak_values(
            [peak(f"{part} | {document}", of_cell, seed=seed) for (part, document), of_cell in grouped.items()]
        )

    return compute


@scorer(metrics=[reported_information(), concept_peaks()])
def identified() -> Scorer:
    """Score a trial by how probable the injected concept is among the options.

    The value holds `p` and `p_sham` (probability of the injected concept among the options, injected and sham), `rank`
    (of the injected concept, 1 is first), `p_nothing` (NaN if that is no option) and `mass` (probability of all options
    together). The answer is the most likely option. What every arm reports is in the metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return Score(
                value=dict.fromkeys(("p", "p_sham", "rank", "p_nothing", "mass"), math.nan),
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


def _values(cell: str, identified_cell: Identification) -> dict[str, float]:
    bits, beyond = identified_cell.information, identified_cell.beyond_random
    return {
        f"bits | {cell}": bits.bits,
        f"bits | {cell} | low": bits.low,
        f"bits | {cell} | high": bits.high,
        f"bits | {cell} | plug-in": bits.plug_in,
        f"bits | {cell} | p-value": bits.p_value,
        f"bits | {cell} | ceiling": bits.ceiling,
        f"bits, random vectors | {cell}": identified_cell.random_bits,
        f"bits beyond random | {cell}": bits.bits - identified_cell.random_bits,
        f"bits beyond random | {cell} | p-value": beyond.p_value if beyond else math.nan,
        f"accuracy | {cell}": bits.accuracy,
        f"missing | {cell}": identified_cell.missing,
        **(
            {}
            if math.isnan(identified_cell.nothing.estimate)
            else {
                f"nothing, injected - sham | {cell}": identified_cell.nothing.estimate,
                f"nothing, injected - sham | {cell} | low": identified_cell.nothing.low,
                f"nothing, injected - sham | {cell} | high": identified_cell.nothing.high,
            }
        ),
    }
