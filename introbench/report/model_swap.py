"""Tables of the model swap task: shifts and contrasts of every arm."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.arm_lens import Cell, arm_lenses, lens_peak
from introbench.analysis.logit_lens import LensTrial, Peak, concept_means
from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import Result, ScoredTrial, read_trials
from introbench.analysis.probabilities import mean_probabilities
from introbench.report.logit_lens import both, peaks_table
from introbench.report.probabilities import first_table, full_table
from introbench.report.report import Report, counted, plain_table
from introbench.report.text import interval_text, number_text, results_table

LEGEND = (
    "Units are questions, as there is one fine-tune: intervals are 95% each, studentised bootstrap over\n"
    "questions. finetune: the fine-tune filled the cache. contrast +/-: the base filled it, steered by the vector\n"
    "from base to fine-tune, or by its opposite. random: by rotations of that vector, on average. A control\n"
    "family by itself stands beside plain questions, always_yes beside reversed ones; matched controls are both."
)

LENS_LEGEND = (
    "Gap: between the arm and the sham by the logit lens, on introspection questions, in nats, toward 'noticed'.\n"
    "Intervals of gaps at the peak and of what is lost hold for all layers together, since the peak was picked.\n"
    "P(yes) is the mean over questions that are not reversed."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    run = SwapRun(trials)
    probabilities = mean_probabilities(read_trials(trials))
    headlines, lenses = run.headlines(), arm_lenses(trials)
    peaks = {cell: lens_peak(cell, of_cell) for cell, of_cell in lenses.items()}
    return Report(
        conclusion=[*_conclusion(headlines), *_lens_conclusion(peaks)],
        tables=[*first_table(probabilities), *_headlines(headlines), *_first_peaks(peaks)],
        further=[
            *full_table(probabilities),
            "Mean shift toward yes under each arm, against the sham; for introspection toward 'noticed'",
            results_table(run.shifts()),
            "Contrasts: does introspection move more than control questions do, under the same arm?",
            results_table(run.contrasts()),
            LEGEND,
            *_all_peaks(peaks),
            *_by_layer(lenses),
            *([LENS_LEGEND] if lenses else []),
        ],
    )


def _conclusion(headlines: Sequence[Result]) -> list[str]:
    """Whether the fine-tune's cache moves introspection more than control questions, and what that rests on."""
    if not headlines or not headlines[0].interval.units:
        return [
            "No conclusion: introspection and control questions were not both answered with finite numbers.",
            "What would change it: ask both (families=...), of the same formats.",
        ]
    first, *others = headlines
    arm, _, controls = first.name.partition(": introspection - ")
    interval = first.interval
    if math.isnan(interval.low):
        shown = "Whether the swap is noticed is not known"
    elif interval.low > 0:
        shown = "The answers say more than without the swap that something was noticed, beyond control questions"
    elif interval.high < 0:
        shown = "The answers say less than without the swap that something was noticed, beyond control questions"
    else:
        shown = "It is not shown that the swap is noticed"
    beside = [f"{other.name.partition(': ')[0]}: {number_text(other.interval.estimate)}" for other in others]
    return [
        f"{shown}: with the cache of arm {arm}, under document {first.document}, introspection moves by "
        f"{number_text(interval.estimate)} {interval_text(interval)} nats more than {controls} (95% interval).",
        *([f"The same contrast of the other arms, in nats: {'; '.join(beside)}."] if beside else []),
        f"It rests on {counted(interval.units, 'question')} in the family that has fewest, and on one fine-tune: it "
        "says nothing about others.",
        "What would change it: more introspection and control questions, which narrow the interval; random vectors of "
        "that norm that move answers as much.",
    ]


def _headlines(headlines: Sequence[Result]) -> list[str]:
    rows = [
        [result.name, number_text(result.interval.estimate), interval_text(result.interval), result.interval.units]
        for result in headlines
    ]
    return (
        [plain_table(["introspection beyond control questions", "nats", "95% interval", "questions"], rows)]
        if rows
        else []
    )


def _lens_conclusion(peaks: Mapping[Cell, Peak]) -> list[str]:
    """In which layer the fine-tune's cache moves the readout most, and what is left of it in the answer."""
    for (arm, document), top in peaks.items():
        if math.isnan(top.gap.estimate):
            return []
        return [
            f"By the logit lens, the gap of arm {arm} under document {document} is largest after layer "
            f"{top.layer.estimate:.0f}, with {both(top.gap)} nats; in the answer it is {both(top.final)}."
        ]
    return []


def _first_peaks(peaks: Mapping[Cell, Peak]) -> list[str]:
    """Every arm's peak under the reference document."""
    reference = [document for _, document in peaks][:1]
    of_arms = {arm: top for (arm, document), top in peaks.items() if document in reference}
    return [peaks_table(of_arms, "logit lens", narrow=True)] if peaks else []


def _all_peaks(peaks: Mapping[Cell, Peak]) -> list[str]:
    of_cells = {f"{arm} | {document}": top for (arm, document), top in peaks.items()}
    return ["By the logit lens: where gaps peak", peaks_table(of_cells, "arm and document")] if peaks else []


def _by_layer(lenses: Mapping[Cell, Sequence[LensTrial]]) -> list[str]:
    """The gap of every arm after every block, a table for each document; none without finite numbers."""
    paragraphs = []
    for document in dict.fromkeys(document for _, document in lenses):
        columns: dict[str, list[str]] = {}
        for (arm, under), of_cell in lenses.items():
            gaps, _, curves, _ = concept_means(of_cell)
            if under == document and gaps.size:
                columns |= {name: [f"{value:.3%}" for value in curve] for name, curve in curves.items()}
                columns[f"gap {arm}"] = [number_text(float(value)) for value in np.mean(gaps, axis=0)]
        if columns:
            rows = [[layer, *row] for layer, row in enumerate(zip(*columns.values(), strict=True))]
            align = ("right",) * (len(columns) + 1)
            table = tabulate(rows, ["layer", *columns], tablefmt="simple", disable_numparse=True, colalign=align)
            paragraphs += [f"Document {document}, layer by layer", table]
    return paragraphs
