"""Tables of the identification task: information, confusion matrices and lifts."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.identification import NOTHING, Identification, identifications, lens_trials
from introbench.analysis.noticed import ScoredTrial
from introbench.report.logit_lens import layer_tables
from introbench.report.text import interval_text, number_text


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    by_cell = identifications(trials, by_layer=True)
    rows = []
    for identified in by_cell.values():
        bits = identified.information
        by_layer = np.nan_to_num(identified.bits_by_layer, nan=-np.inf)
        top = int(by_layer.argmax())
        rows.append(
            [
                identified.part,
                identified.document,
                f"{bits.bits:+.2f} [{bits.low:+.2f}, {bits.high:+.2f}]",
                f"{bits.ceiling:.2f}",
                f"{bits.p_value:.3f}",
                f"{bits.accuracy:.1%}",
                f"{by_layer[top]:+.2f} at {top}" if np.isfinite(by_layer[top]) else "",
                number_text(identified.nothing.estimate) if NOTHING in identified.options else "",
                interval_text(identified.nothing) if NOTHING in identified.options else "",
                number_text(identified.nothing_random.estimate) if NOTHING in identified.options else "",
                bits.orders,
                identified.missing or "",
            ]
        )
    headers = [
        "part",
        "document",
        "bits",
        "ceiling",
        "p",
        "accuracy",
        "most bits, at layer",
        "P(nothing) - sham",
        "95% interval",
        "random vectors",
        "orders",
        "missing",
    ]
    return [
        "Mutual information between the injected and the reported concept",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *(paragraph for identified in by_cell.values() for paragraph in _reports_of(identified)),
        *(
            paragraph
            for (part, document), of_cell in lens_trials(trials).items()
            for paragraph in layer_tables(f"{document} ({part})", of_cell)
        ),
        "Bits: corrected for bias, 95% jackknife interval over orders or wordings; p by permutation of the injected\n"
        "concepts. The layer with most bits was picked, so that number flatters. Lift: how much more often a concept\n"
        "is reported when it was injected than when another was. Gaps by layer: log-probability of the injected\n"
        "concept's own token, injected minus sham.",
    ]


def _reports_of(identified: Identification) -> list[str]:
    """A confusion matrix, and each concept's lift."""
    shown = [*identified.options[: identified.confusion.shape[1]]]
    names = (
        [name or "nothing" for name in shown]
        if len(identified.options) == len(shown)
        else [*identified.concepts, "others"]
    )
    rows = [
        [
            concept,
            *(f"{value:.0%}" for value in row),
            f"{lift.hit:.1%}",
            f"{lift.background:.1%}",
            f"{lift.lift:.2f} [{lift.low:.2f}, {lift.high:.2f}]",
        ]
        for concept, row, lift in zip(identified.concepts, identified.confusion, identified.lifts, strict=True)
    ]
    headers = ["injected", *names, "hit", "otherwise", "lift"]
    return [
        f"What is reported, document {identified.document} ({identified.part})",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
    ]
