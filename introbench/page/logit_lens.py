"""Figures of the logit lens task: P(yes) and the gap between injected and sham, layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from introbench.analysis.logit_lens import LensTrial, by_document, concept_means, lens_trial
from introbench.analysis.noticed import ScoredTrial
from introbench.page.charts import BLUE, GREY, ORANGE, lines
from introbench.page.figure import Figure, Panel
from introbench.records.factors import TrialFactors
from introbench.stats.intervals import own_rng, simultaneous_intervals

COLOURS = {"concept": BLUE, "random": ORANGE, "sham": GREY}


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    grouped = by_document([lens_trial(trial) for trial in trials], plan.ordered_documents)
    panels = {
        what: [Panel(f"document {name}", *panel(name, of_document)) for name, of_document in grouped.items()]
        for what, panel in (("gaps", _gaps), ("curves", _curves))
    }
    return [
        Figure(
            "gaps",
            "The gap between injected and sham, by layer",
            "By the logit lens: log-odds of yes after each block under the injection minus the same under the sham, "
            "turned toward 'noticed', mean over concepts; the band is a 95% interval that holds for all layers "
            "together. What rises and falls again before the last layer was suppressed.",
            [panel for panel in panels["gaps"] if panel.rows],
        ),
        Figure(
            "curves",
            "P(yes) by layer, with and without an injection",
            "By the logit lens, mean over questions that are not reversed.",
            [panel for panel in panels["curves"] if panel.rows],
        ),
    ]


def _gaps(document: str, trials: Sequence[LensTrial]) -> tuple[dict[str, object], list[dict[str, object]]]:
    gaps, random, _, _ = concept_means(trials)
    rows: list[dict[str, object]] = []
    if len(gaps):
        together = simultaneous_intervals(gaps, rng=own_rng(0, document))
        rows += [
            {"x": layer, "y": one.estimate, "low": one.low, "high": one.high, "group": "concept"}
            for layer, one in enumerate(together)
        ]
        rows += [
            {"x": layer, "y": float(value), "group": "random"}
            for layer, value in enumerate(np.mean(random, axis=0))
            if np.isfinite(value)
        ]
    return _chart(rows, "gap toward 'noticed' (nats)", at=0.0), rows


def _curves(_: str, trials: Sequence[LensTrial]) -> tuple[dict[str, object], list[dict[str, object]]]:
    curves = concept_means(trials)[2]
    rows: list[dict[str, object]] = [
        {"x": layer, "y": float(value), "group": name}
        for name, curve in curves.items()
        for layer, value in enumerate(curve)
    ]
    return _chart(rows, "P(yes)"), rows


def _chart(rows: Sequence[Mapping[str, object]], title: str, at: float | None = None) -> dict[str, object]:
    groups = dict.fromkeys(str(row["group"]) for row in rows)
    extra = iter(("#009E73", "#CC79A7", "#E69F00"))
    return lines(rows, "layer", title, {name: COLOURS.get(name) or next(extra, GREY) for name in groups}, at=at)
