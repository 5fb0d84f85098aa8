"""At which layers an injection moves the answer, read by the logit lens."""

import math

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.logit_lens import by_document, lens_trial, peak
from introbench.analysis.named_values import interval_values
from introbench.provider.outputs import read_output
from introbench.records.factors import TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import arm_table, lens_table
from introbench.scorers.metric_values import scored_trials


@metric(scores="unreduced")
def lens_peaks() -> Metric:
    """How much of the gap the last layers take away, in which layer it peaks, and how large it is there and at the end.

    All are under the reference document, in nats. `lost` is the gap at the peak minus `final`, the gap in the answer.
    """

    def compute(scores: list[SampleScore]) -> Value:
        trials = scored_trials(scores)
        documents = TrialFactors.from_json(trials[0][0]).plan.ordered_documents[:1] if trials else [""]
        (document,) = documents
        top = peak(document, by_document([lens_trial(trial) for trial in trials], documents)[document])
        return {
            **interval_values("lost", top.suppression),
            "peak layer": top.layer.estimate,
            **interval_values("peak gap", top.gap),
            **interval_values("final", top.final),
            "missing": top.missing,
        }

    return compute


@scorer(metrics=[lens_peaks()], name=recorded_name("lens_gap"))
def lens_gap() -> Scorer:
    """Score a trial by the gap in log-odds of yes between concept and sham, after every block.

    The value holds the trial's `document` and `family`, `peak` (largest gap of this trial, in nats, signed so that
    "noticed" is positive), `layer` (where), `final` (gap in the answer) and `p_yes_peak` (P(yes) there). All layers are
    in the metadata and the explanation.
    """

    async def score(state: TaskState, target: Target) -> Score:
        question = TrialFactors.from_json(state.metadata).question
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return Score(
                value={**question.groups, **dict.fromkeys(("peak", "layer", "final", "p_yes_peak"), math.nan)},
                reason="not_finite",
                explanation="The model's numbers are not finite. Lower the strength, or load it with -M dtype=float32.",
            )
        odds = {arm: np.array(reading.log_odds_by_layer) for arm, reading in readings.items()}
        gaps = {arm: question.side * (values - odds["sham"]) for arm, values in odds.items() if arm != "sham"}
        p_yes = {arm: np.exp(readings[arm].lens["yes"]).tolist() for arm in readings}
        layer = int(np.nanargmax(gaps["concept"]))
        return Score(
            value={
                **question.groups,
                "peak": round(float(gaps["concept"][layer]), 3),
                "layer": layer,
                "final": round(float(gaps["concept"][-1]), 3),
                "p_yes_peak": round(p_yes["concept"][layer], 4),
            },
            answer="yes" if readings["concept"].log_odds > 0 else "no",
            explanation="\n\n".join(
                (arm_table([*readings.values()]), lens_table(p_yes, {arm: odds[arm].tolist() for arm in odds}))
            ),
            metadata={
                "gaps": {arm: values.tolist() for arm, values in gaps.items()},
                "log_odds": {arm: values.tolist() for arm, values in odds.items()},
                "p_yes": p_yes,
            },
        )

    return score
