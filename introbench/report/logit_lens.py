"""Tables of the logit lens task: the gap between injected and sham, layer by layer."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.logit_lens import LensTrial, Peak, by_document, concept_means, lens_trial, peak
from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import TrialFactors
from introbench.report.markdown import published_form
from introbench.report.report import Report, counted, plain_table
from introbench.report.text import interval_text, number_text
from introbench.stats.intervals import Interval, simultaneous_intervals

LEGEND = (
    "Gap: between injected and sham by the logit lens, in nats, toward 'noticed'. Intervals: 95% over concepts.\n"
    "Those of gaps by layer, at the peak, and of what is lost hold for all layers together, since the peak was\n"
    "picked. P(yes) is the mean over questions that are not reversed."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    grouped = by_document([lens_trial(trial) for trial in trials], plan.ordered_documents)
    peaks = {document: peak(document, of_document) for document, of_document in grouped.items()}
    return Report(
        conclusion=_conclusion(plan.ordered_documents[0], peaks, grouped),
        tables=[*_probabilities(peaks, grouped), peaks_table(peaks, "document")],
        further=[
            *(
                paragraph
                for document, of_document in grouped.items()
                for paragraph in layer_tables(document, of_document)
            ),
            LEGEND,
        ],
    )


def _conclusion(document: str, peaks: Mapping[str, Peak], grouped: Mapping[str, Sequence[LensTrial]]) -> list[str]:
    """Whether and where a gap is shown, what is left of it in the answer, and what that rests on."""
    top = peaks[document]
    if math.isnan(top.gap.estimate):
        return [f"No gap was measured: under document {document} no trial has finite numbers; lower the strength."]
    layer = int(top.layer.estimate)
    shown = "The readout moves toward 'noticed'" if top.gap.low > 0 else "No gap toward 'noticed' is shown"
    lost = "the last layers take a part of it away" if top.suppression.low > 0 else "no loss on the way is shown"
    random = float(concept_means(grouped[document])[1][:, layer].mean())
    missing = f"; {counted(top.missing, 'trial')} could not be used" if top.missing else ""
    return [
        f"{shown}: under document {document} the gap is largest after layer {layer}, with {both(top.gap)} nats.",
        f"In the answer it is {both(top.final)} nats; lost in between: {both(top.suppression)}, so that {lost}.",
        f"Random vectors, in that layer: {number_text(random)} nats."
        if math.isfinite(random)
        else "Random vectors were not run, so that any vector may do the same.",
        f"It rests on {counted(top.gap.units, 'concept')}; intervals (95%) hold for all layers together, since the "
        f"largest gap was picked{missing}.",
        "What would change it: more concepts; and control questions, without which a gap is no introspection "
        "(evals/introspection.py asks them).",
    ]


def both(interval: Interval) -> str:
    """An estimate with its interval."""
    return f"{number_text(interval.estimate)} {interval_text(interval)}"


def _probabilities(peaks: Mapping[str, Peak], grouped: Mapping[str, Sequence[LensTrial]]) -> list[str]:
    """P(yes) without and with the injection, in the layer of the largest gap and in the answer."""
    rows = []
    for document, of_document in grouped.items():
        curves = list(concept_means(of_document)[2].values())
        if len(curves) == 2:
            layer = int(peaks[document].layer.estimate)
            shown = (f"yes {published_form(*(float(curve[at]) for curve in curves))}" for at in (layer, -1))
            rows.append([document, *shown])
    headers = ["document", "in the layer of the largest gap", "in the answer, without -> with the injection"]
    return [plain_table(headers, rows)] if rows else []


def _layers(layer: Interval) -> str:
    return "" if math.isnan(layer.low) else f"[{layer.low:.0f}, {layer.high:.0f}]"


def peaks_table(peaks: Mapping[str, Peak], of: str, *, narrow: bool = False) -> str:
    """Where gaps peak, and what is left of them in the answer; a row for each name.

    Args:
        peaks: By name; at least one.
        of: What the names are.
        narrow: Whether to leave out all intervals but those of the layer and of the gap there.
    """
    of_rest: Callable[[Interval], str] = (lambda interval: number_text(interval.estimate)) if narrow else both
    rows = [
        [
            name,
            "" if math.isnan(top.layer.estimate) else f"{top.layer.estimate:.0f} {_layers(top.layer)}".rstrip(),
            both(top.gap),
            *map(of_rest, (top.final, top.suppression)),
            *([top.missing or ""] if any(each.missing for each in peaks.values()) else []),
        ]
        for name, top in peaks.items()
    ]
    headers = [of, "peak layer", "gap there (nats)", "in the answer", "lost in between"]
    return plain_table([*headers, *(["missing"] if len(rows[0]) > len(headers) else [])], rows)


def layer_tables(document: str, trials: Sequence[LensTrial]) -> list[str]:
    """The gap of a document's trials after every block; nothing without finite numbers."""
    gaps, random, curves, _ = concept_means(trials)
    if not gaps.size:
        return []
    rows = []
    for layer, interval in enumerate(simultaneous_intervals(gaps, rng=np.random.default_rng(0))):
        rows.append(
            [
                layer,
                *(f"{values[layer]:.3%}" for values in curves.values()),
                number_text(interval.estimate),
                interval_text(interval),
                number_text(float(random[:, layer].mean())),
            ]
        )
    headers = ["layer", *curves, "gap (nats)", "95% interval", "random vectors"]
    return [
        f"Document {document}, layer by layer",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=("right",) * len(headers)),
    ]
