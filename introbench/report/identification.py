"""Tables of the identification task: information, confusion matrices and lifts."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.identification import NOTHING, Identification, identifications, lens_trials
from introbench.analysis.shifts import ScoredTrial
from introbench.report.logit_lens import layer_tables
from introbench.report.text import interval_text, number_text


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    found = identifications(trials, by_layer=True)
    rows = []
    for each in found.values():
        bits = each.information
        by_layer = np.nan_to_num(each.bits_by_layer, nan=-np.inf)
        top = int(by_layer.argmax())
        rows.append(
            [
                each.part,
                each.document,
                f"{bits.bits:+.2f} [{bits.low:+.2f}, {bits.high:+.2f}]",
                f"{bits.ceiling:.2f}",
                f"{bits.p_value:.3f}",
                f"{bits.accuracy:.1%}",
                f"{by_layer[top]:+.2f} at {top}" if np.isfinite(by_layer[top]) else "",
                number_text(each.nothing.estimate) if NOTHING in each.options else "",
                interval_text(each.nothing) if NOTHING in each.options else "",
                number_text(each.nothing_random.estimate) if NOTHING in each.options else "",
                bits.orders,
                each.missing or "",
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
        *(paragraph for each in found.values() for paragraph in _reports_of(each)),
        *(
            paragraph
            for (part, document), each in lens_trials(trials).items()
            for paragraph in layer_tables(f"{document} ({part})", each)
        ),
        "Bits: corrected for bias, 95% jackknife interval over orders or wordings; p by permutation of the injected\n"
        "concepts. The layer with most bits was picked, so that number flatters. Lift: how much more often a concept\n"
        "is reported when it was injected than when another was. Gaps by layer: log-probability of the injected\n"
        "concept's own token, injected minus sham.",
    ]


def _reports_of(found: Identification) -> list[str]:
    """A confusion matrix, and each concept's lift."""
    shown = [*found.options[: found.confusion.shape[1]]]
    names = [name or "nothing" for name in shown] if len(found.options) == len(shown) else [*found.concepts, "others"]
    rows = [
        [
            concept,
            *(f"{value:.0%}" for value in row),
            f"{lift.hit:.1%}",
            f"{lift.background:.1%}",
            f"{lift.lift:.2f} [{lift.low:.2f}, {lift.high:.2f}]",
        ]
        for concept, row, lift in zip(found.concepts, found.confusion, found.lifts, strict=True)
    ]
    headers = ["injected", *names, "hit", "otherwise", "lift"]
    return [
        f"What is reported, document {found.document} ({found.part})",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
    ]
