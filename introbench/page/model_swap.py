"""Figures of the model swap task: shifts and contrasts of every arm, and what the logit lens reads layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from introbench.analysis.arm_lens import arm_lenses
from introbench.analysis.logit_lens import LensTrial, concept_means
from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import ScoredTrial
from introbench.page.charts import BLUE, GREEN, GREY, ORANGE, PINK, lines
from introbench.page.figure import Figure, Panel
from introbench.page.introspection import results_figure
from introbench.stats.intervals import own_rng, simultaneous_intervals

COLOURS = {
    "finetune": BLUE,
    "contrast +": GREEN,
    "contrast -": PINK,
    "finetune, contrast -": "#E69F00",
    "random": ORANGE,
    "sham": GREY,
}


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    run, lenses = SwapRun(trials), arm_lenses(trials)
    documents = {
        document: {arm: of_cell for (arm, under), of_cell in lenses.items() if under == document}
        for document in dict.fromkeys(document for _, document in lenses)
    }
    panels = {
        what: [Panel(f"document {name}", *panel(name, of_arms)) for name, of_arms in documents.items()]
        for what, panel in (("gaps", _gaps), ("curves", _curves))
    }
    return [
        results_figure("contrasts", "Introspection beyond control questions, by arm", run.contrasts(), "nats"),
        results_figure("shifts", "Mean shifts, by arm", run.shifts(), "shift (nats)"),
        Figure(
            "lens-gaps",
            "The gap between each arm and the sham, by layer",
            "By the logit lens, on introspection questions: log-odds of yes after each block under the arm minus the "
            "same under the sham, turned toward 'noticed', mean over questions. The band of the fine-tune's arm is a "
            "95% interval over questions that holds for all layers together. random is the mean of the random vectors.",
            [panel for panel in panels["gaps"] if panel.rows],
        ),
        Figure(
            "lens-curves",
            "P(yes) by layer, under each arm",
            "By the logit lens, mean over introspection questions that are not reversed.",
            [panel for panel in panels["curves"] if panel.rows],
        ),
    ]


def _gaps(
    document: str, of_arms: Mapping[str, Sequence[LensTrial]]
) -> tuple[dict[str, object], list[dict[str, object]]]:
    rows: list[dict[str, object]] = []
    for arm, of_arm in of_arms.items():
        gaps = concept_means(of_arm)[0]
        if not len(gaps):
            continue
        rows += [{"x": layer, "y": float(gap), "group": arm} for layer, gap in enumerate(np.mean(gaps, axis=0))]
        if arm == next(iter(of_arms)):
            together = simultaneous_intervals(gaps, rng=own_rng(0, document))
            rows = [row | {"low": one.low, "high": one.high} for row, one in zip(rows, together, strict=True)]
    return _chart(rows, "gap toward 'noticed' (nats)", at=0.0), rows


def _curves(_: str, of_arms: Mapping[str, Sequence[LensTrial]]) -> tuple[dict[str, object], list[dict[str, object]]]:
    curves = {name: curve for of_arm in of_arms.values() for name, curve in concept_means(of_arm)[2].items()}
    rows: list[dict[str, object]] = [
        {"x": layer, "y": float(value), "group": name.removeprefix("P(yes) ")}
        for name, curve in curves.items()
        for layer, value in enumerate(curve)
    ]
    return _chart(rows, "P(yes)"), rows


def _chart(rows: Sequence[Mapping[str, object]], title: str, at: float | None = None) -> dict[str, object]:
    groups = dict.fromkeys(str(row["group"]) for row in rows)
    return lines(rows, "layer", title, {name: COLOURS.get(name, GREY) for name in groups}, at=at)
