"""Tables of the identification task: information, confusion matrices and lifts."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.identification import NOTHING, Identification, identifications, lens_trials
from introbench.analysis.noticed import ScoredTrial
from introbench.report.logit_lens import layer_tables
from introbench.report.text import interval_text, number_text
from introbench.stats.information_difference import pairs_needed

LEVEL = 0.95
"""Confidence with which all conclusions of a table hold together."""


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    by_cell = identifications(trials, by_layer=True)
    largest_p = (1 - LEVEL) / max(1, sum(identified.beyond_random is not None for identified in by_cell.values()))
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
                *_beside_random(identified, largest_p),
                f"{bits.ceiling:.2f}",
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
        "bits, random",
        "difference",
        "p of difference",
        "more about concepts?",
        "ceiling",
        "accuracy",
        "most bits, at layer",
        "P(nothing) - sham",
        "95% interval",
        "random vectors",
        "orders",
        "missing",
    ]
    return [
        "Mutual information between the injected and the reported concept, beside that about random vectors",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *(paragraph for identified in by_cell.values() for paragraph in _reports_of(identified)),
        *(
            paragraph
            for (part, document), of_cell in lens_trials(trials).items()
            for paragraph in layer_tables(f"{document} ({part})", of_cell)
        ),
        "Bits: corrected for bias, 95% jackknife interval over orders or wordings, for these vectors. Vectors\n"
        "without any content shift answers, too, each in its own way: bits above 0 say nothing about concepts.\n"
        "What does is the difference from the bits about random vectors, each a rotation of a concept's vector; its p\n"
        "is that of a permutation test, which exchanges concepts' vectors and their rotations. more about concepts:\n"
        f"yes if p is at most {largest_p:.3g}, which is 5% for all rows of the table together (Bonferroni). The layer\n"
        "with most bits was picked, so that number flatters. Lift: how much more often a concept is reported when it\n"
        "was injected than when another was. Gaps by layer: log-probability of the injected concept's own token,\n"
        "injected minus sham.",
    ]


def _beside_random(identified: Identification, largest_p: float) -> tuple[str, str, str, str]:
    """The bits about random vectors, the difference with its p-value, and what follows from it."""
    beyond = identified.beyond_random
    if beyond is None:
        return "", "", "", "not known: no random vectors"
    difference = identified.information.bits - identified.random_bits
    if beyond.p_value <= largest_p:
        conclusion = "yes"
    elif beyond.smallest_p > largest_p:
        conclusion = f"needs {pairs_needed(largest_p)} or more concepts"
    else:
        conclusion = "not shown"
    return f"{identified.random_bits:+.2f}", f"{difference:+.2f}", f"{beyond.p_value:.3f}", conclusion


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
