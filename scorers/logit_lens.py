"""At which layers an injection moves the answer, read by the logit lens."""

import math
from collections.abc import Sequence

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading, log_odds
from introbench.analysis.logit_lens import Peak, by_document, lens_trial, peak
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.report.markdown import lens_table
from introbench.scorers.metric_values import scored_trials


@metric(scores="unreduced")
def lens_peaks(seed: int = 0) -> Metric:
    """For every document: the layer where the gap peaks, the gap there, in the answer, and what is lost in between.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        if not scores:
            return {}
        trials = scored_trials(scores)
        documents = TrialFactors.from_json(trials[0][0]).plan.documents
        grouped = by_document([lens_trial(trial) for trial in trials], documents)
        return peak_values([peak(document, of_document, seed=seed) for document, of_document in grouped.items()])

    return compute


def peak_values(peaks: Sequence[Peak]) -> dict[str, float]:
    """Metric values by readable name."""
    values: dict[str, float] = {}
    for lens_peak in peaks:
        for name in ("layer", "gap", "final", "suppression"):
            interval = getattr(lens_peak, name)
            key = f"{'peak ' if name in ('layer', 'gap') else ''}{name} | {lens_peak.document}"
            values |= {key: interval.estimate, f"{key} | low": interval.low, f"{key} | high": interval.high}
        values[f"missing | {lens_peak.document}"] = lens_peak.missing
    return values


@scorer(metrics=[lens_peaks()])
def lens_gap() -> Scorer:
    """Score a trial by the gap in log-odds of yes between concept and sham, after every block.

    The value holds `peak` (largest gap of this trial, in nats, signed so that "noticed" is positive), `layer` (where),
    `final` (gap in the answer) and `p_yes_peak` (P(yes) there). All layers are in the metadata and the explanation.
    """

    async def score(state: TaskState, target: Target) -> Score:
        side = TrialFactors.from_json(state.metadata).question.side
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return Score(
                value=dict.fromkeys(("peak", "layer", "final", "p_yes_peak"), math.nan),
                reason="not_finite",
                explanation="The model's numbers are not finite. Lower the strength, or load it with -M dtype=float32.",
            )
        odds = {arm: np.array(by_layer(reading)) for arm, reading in readings.items()}
        gaps = {arm: side * (values - odds["sham"]) for arm, values in odds.items() if arm != "sham"}
        p_yes = {arm: np.exp(readings[arm].lens["yes"]).tolist() for arm in readings}
        layer = int(np.nanargmax(gaps["concept"]))
        return Score(
            value={
                "peak": round(float(gaps["concept"][layer]), 3),
                "layer": layer,
                "final": round(float(gaps["concept"][-1]), 3),
                "p_yes_peak": round(p_yes["concept"][layer], 4),
            },
            answer="yes" if readings["concept"].log_odds > 0 else "no",
            explanation=lens_table(p_yes, {arm: values.tolist() for arm, values in odds.items()}),
            metadata={
                "gaps": {arm: values.tolist() for arm, values in gaps.items()},
                "log_odds": {arm: values.tolist() for arm, values in odds.items()},
                "p_yes": p_yes,
            },
        )

    return score


def by_layer(reading: ArmReading) -> list[float]:
    """Log-odds of yes after every block."""
    names = list(reading.lens)
    return [log_odds(dict(zip(names, block, strict=True))) for block in zip(*reading.lens.values(), strict=True)]
