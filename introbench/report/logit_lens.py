"""Tables of the logit lens task: the gap between injected and sham, layer by layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from introbench.analysis.logit_lens import LensTrial, by_document, concept_means, lens_trial, peak
from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import TrialFactors
from introbench.report.text import interval_text, number_text
from introbench.stats.intervals import simultaneous_intervals


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    grouped = by_document([lens_trial(trial) for trial in trials], plan.documents)
    rows: list[list[Any]] = []
    for document, of_document in grouped.items():
        top = peak(document, of_document)
        rows.append(
            [
                document,
                f"{top.layer.estimate:.0f} [{top.layer.low:.0f}, {top.layer.high:.0f}]",
                *(f"{number_text(i.estimate)} {interval_text(i)}" for i in (top.gap, top.final, top.suppression)),
                top.layer.units,
                top.missing or "",
            ]
        )
    headers = ["document", "peak layer", "gap there", "gap in the answer", "lost in between", "concepts", "missing"]
    return [
        "Gap between injected and sham by the logit lens, in nats: where it peaks, and what the last layers take away",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *(paragraph for document, of_document in grouped.items() for paragraph in layer_tables(document, of_document)),
        "Intervals: 95% over concepts. Those of gaps by layer, at the peak, and of what is lost hold for all layers\n"
        "together, since the peak was picked. P(yes) is the mean over questions that are not reversed.",
    ]


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
