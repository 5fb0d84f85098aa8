"""Tables of the identification task: information, confusion matrices and lifts."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.identification import NOTHING, Identification, identifications, lens_trials
from introbench.analysis.noticed import ScoredTrial
from introbench.prompts.schema import reference_document
from introbench.report.logit_lens import layer_tables
from introbench.report.markdown import published_form
from introbench.report.report import Report, counted, listed, plain_table
from introbench.report.text import interval_text, number_text
from introbench.stats.information_difference import pairs_needed

LEVEL = 0.95
"""Confidence with which all conclusions of a table hold together."""


LEGEND = (
    "Bits: corrected for bias, 95% jackknife interval over orders or wordings, for these vectors. Vectors\n"
    "without any content shift answers, too, each in its own way: bits above 0 say nothing about concepts.\n"
    "What does is the difference from the bits about random vectors, each a rotation of a concept's vector; its p\n"
    "is that of a permutation test, which exchanges concepts' vectors and their rotations. more about concepts:\n"
    "yes if p is at most {largest_p:.3g}, which is 5% for all rows of the table together (Bonferroni). The layer\n"
    "with most bits was picked, so that number flatters. Lift: how much more often a concept is reported when it\n"
    "was injected than when another was. Gaps by layer: log-probability of the injected concept's own token,\n"
    "injected minus sham."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    by_cell = identifications(trials, by_layer=True)
    largest_p = (1 - LEVEL) / max(1, sum(identified.beyond_random is not None for identified in by_cell.values()))
    cells = list(by_cell.values())
    return Report(
        conclusion=_conclusion(cells, largest_p),
        tables=[_probabilities(cells, trials), _first_table(cells, largest_p)] if cells else [],
        further=[
            "Mutual information between the injected and the reported concept, beside that about random vectors",
            _bits(cells, largest_p),
            *(paragraph for identified in cells for paragraph in _reports_of(identified)),
            *(
                paragraph
                for (part, document), of_cell in lens_trials(trials).items()
                for paragraph in layer_tables(f"{document} ({part})", of_cell)
            ),
            LEGEND.format(largest_p=largest_p),
        ],
    )


def _conclusion(cells: Sequence[Identification], largest_p: float) -> list[str]:
    """Where reports say more about concepts than about random vectors, by how many bits, and what that rests on."""
    if not cells:
        return ["No conclusion: no list order or wording was answered for every concept; inject two or more concepts."]
    shown = [f"{cell.part} ({cell.document})" for cell in cells if _beside_random(cell, largest_p)[3] == "yes"]
    first: dict[str, Identification] = {}
    for cell in sorted(cells, key=lambda cell: cell.document != reference_document([c.document for c in cells])):
        first.setdefault(cell.part, cell)
    return [
        f"Reports say more about concepts than about random vectors in: {listed(shown)}."
        if shown
        else "It is not shown that reports say more about concepts than about random vectors, whose rotations have no "
        "meaning.",
        *(_sentence(cell, largest_p) for cell in first.values()),
        f"It rests on {counted(len(cells[0].concepts), 'concept')}, and on "
        f"{listed([f'{cell.information.orders} of {part}' for part, cell in first.items()])} (orders or wordings).",
        "What would change it: more concepts, which make smaller p-values possible. That a concept can be named shows "
        "that its trace reaches the answer, not that it was noticed.",
    ]


def _sentence(cell: Identification, largest_p: float) -> str:
    bits, (_, difference, p_value, conclusion) = cell.information, _beside_random(cell, largest_p)
    beyond = f"{difference} bits beyond random vectors (p = {p_value}: {conclusion})" if p_value else conclusion
    return (
        f"{cell.part}, document {cell.document}: {beyond}; in all {bits.bits:+.2f} of at most {bits.ceiling:.2f} bits; "
        f"the injected concept gets {bits.accuracy:.1%} of the probability, {1 / len(cell.options):.1%} by chance."
    )


def _probabilities(cells: Sequence[Identification], trials: Sequence[ScoredTrial]) -> str:
    """Mean probability of the injected concept among the options, without and with the injection."""
    rows = []
    for cell in cells:
        both = [
            (exact["arms"]["sham"][factors["concept"]], exact["arms"]["concept"][factors["concept"]])
            for factors, exact in trials
            if exact and (factors["family"], factors["document"]) == (cell.part, cell.document)
        ]
        before, after = np.mean(both, axis=0).tolist()
        rows.append([f"{cell.part}, {cell.document}", published_form(before, after), f"{1 / len(cell.options):.1%}"])
    return plain_table(["the injected concept", "without -> with the injection", "chance"], rows)


def _first_table(cells: Sequence[Identification], largest_p: float) -> str:
    rows = [
        [
            f"{cell.part}, {cell.document}",
            _interval(cell),
            *_beside_random(cell, largest_p),
            f"{cell.information.ceiling:.2f}",
        ]
        for cell in cells
    ]
    return plain_table(["bits about", "concepts", "random", "beyond", "p", "more about concepts?", "ceiling"], rows)


def _interval(cell: Identification) -> str:
    bits = cell.information
    return f"{bits.bits:+.2f} [{bits.low:+.2f}, {bits.high:+.2f}]"


def _bits(cells: Sequence[Identification], largest_p: float) -> str:
    rows = []
    for identified in cells:
        bits = identified.information
        by_layer = np.nan_to_num(identified.bits_by_layer, nan=-np.inf)
        top = int(by_layer.argmax())
        rows.append(
            [
                identified.part,
                identified.document,
                _interval(identified),
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
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


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
