"""How well a linear probe tells injections from shams, and how much of that the model's own report recovers."""

import math
from collections.abc import Mapping, Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.named_values import interval_values
from introbench.analysis.probe import COMPARISONS, Detection, aurocs, balanced_weights, json_lists, scores_of
from introbench.analysis.probe_results import Result, answer_results, probe_results
from introbench.records.probe_factors import ProbeFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import scored_trials
from introbench.stats.intervals import NOT_MEASURED

VALUES = ("probe", "report", "recovered", "random", "cache")

NOTHING_DETECTED = Detection(NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, "")
"""What stands for the headline before a document is scored."""


@metric(scores="unreduced")
def headline() -> Metric:
    """What is recovered, with probe and report: last layer, each state against its own sham, document info or first."""

    def compute(scores: list[SampleScore]) -> Value:
        results = probe_results(scored_trials(scores))
        first = results[0].last if results else NOTHING_DETECTED
        values = interval_values("recovered", first.recovered) | interval_values("probe", first.probe)
        values |= interval_values("report", first.report)
        return values | {
            "concepts": first.probe.units,
            "missing": sum(result.missing for result in answer_results(results)),
        }

    return compute


@scorer(metrics=[headline()], name=recorded_name("probed"))
def probed() -> Scorer:
    """Score a document by how well its injections are detected.

    The value holds the `document`, `probe` and `report` (AUROC on concepts, each state against the sham of its
    question; the probe after the last block), `recovered` (the ratio of what they have above chance; NaN where the
    probe is not above it), `random` (that probe on random vectors) and `cache` (a probe at the end of the prior turn,
    mean of the layers from the first steered block on). The metadata hold the AUROC of every vector, by comparison:
    `report` [vectors] and `answer` [layers, vectors]; and the scores of the cache, whose comparisons take all
    documents.
    """

    async def score(state: TaskState, target: Target) -> Score:
        document = state.metadata["document"]
        record = (state.output.metadata or {}).get("probe")
        if not record:
            return Score(
                value={"document": document, **dict.fromkeys(VALUES, math.nan)},
                reason="no_output",
                explanation="The sample ended before anything was read.",
            )
        weights = balanced_weights(ProbeFactors.from_json(state.metadata).reversed)
        report, answer = scores_of(record["report"]), scores_of(record["answer"])
        exact = {
            "concepts": record["concepts"],
            "random": record["random"],
            "report": {name: json_lists(aurocs(report, weights, name)[0]) for name in COMPARISONS},
            "answer": {name: json_lists(aurocs(answer, weights, name)) for name in COMPARISONS},
            "cache": record["cache"],
        }
        results = probe_results([(state.metadata, exact)])
        same = {(result.state, result.vectors): result for result in results if result.comparison == "same"}
        first, random = results[0].last, same.get(("answer", "random"))
        values = {
            "probe": first.probe.estimate,
            "report": first.report.estimate,
            "recovered": first.recovered.estimate,
            "random": random.last.probe.estimate if random else math.nan,
            "cache": same["cache", "concepts"].mean.probe.estimate,
        }
        return Score(
            value={"document": document, **{name: round(value, 3) for name, value in values.items()}},
            explanation="\n\n".join([*_sentences(results), _by_layer(same)]),
            metadata=exact,
        )

    return score


def _sentences(results: Sequence[Result]) -> list[str]:
    first = results[0].last
    recovered = f"nothing to say, {first.reason}" if first.reason else f"{first.recovered.estimate:.2f}"
    lost = sum(result.missing for result in answer_results(results))
    return [
        f"AUROC on concepts: report {first.report.estimate:.3f}, "
        f"probe after the last block {first.probe.estimate:.3f}; "
        f"recovered: {recovered}.",
        *([f"Vectors that are not finite: {lost}. Lower the strength, or pass -M dtype=float32."] if lost else []),
    ]


def _by_layer(same: Mapping[tuple[str, str], Result]) -> str:
    """Markdown table of the probe's AUROC after every block."""
    headers = ["layer", *(f"{state}, {vectors}" for state, vectors in same)]
    rows = [
        [str(layer), *(_mean(result, layer) for result in same.values())]
        for layer in range(max(len(result.curve) for result in same.values()))
    ]
    return markdown([headers, ["---"] * len(headers), *rows])


def _mean(result: Result, layer: int) -> str:
    if layer >= len(result.curve) or not result.curve.shape[1]:
        return ""
    return f"{result.curve[layer].mean():.3f}"
