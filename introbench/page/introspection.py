"""Figures of the introspection task: shifts, control questions with their curve, and excesses."""

from collections.abc import Mapping, Sequence

import numpy as np

from introbench.analysis.excess import distinct_answers
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import SIDED, Result, TrialShift
from introbench.page.charts import BLUE, GREEN, GREY, ORANGE, PINK, interval_row, intervals, points
from introbench.page.figure import Figure, Panel
from introbench.prompts.schema import SALIENCE
from introbench.stats.control_curve import mean_curves

PLAIN, REVERSED, CONTROLS, OUTSTANDING = (
    "introspection, plain",
    "introspection, reversed",
    "control questions",
    SALIENCE,
)
COLOURS = {PLAIN: BLUE, REVERSED: ORANGE, OUTSTANDING: GREEN, CONTROLS: GREY}
SHAPES = {PLAIN: "triangle-up", REVERSED: "triangle-down", OUTSTANDING: "diamond", CONTROLS: "circle"}


def figures(run: IntrospectionRun, questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run.

    Args:
        run: The run.
        questions: The text of each question, by its name.
    """
    return [
        *_beside_controls(run, questions),
        *_excesses(run),
        results_figure("shifts", "Mean shifts", run.mean_shifts, "shift (nats)"),
        results_figure("contrasts", "Contrasts", run.contrasts, "difference of shifts (nats)"),
    ]


def _beside_controls(run: IntrospectionRun, questions: Mapping[str, str]) -> list[Figure]:
    panels = [_controls_panel(run, document, questions) for document in run.plan.ordered_documents]
    shown = [panel for panel in panels if panel.rows]
    if not run.excesses or not shown:
        return []
    return [
        Figure(
            "controls",
            "Does introspection move more than control questions with the same baseline do?",
            "Each point is a question in one kind of answer, mean over concepts and over which label means yes: its "
            "shift toward yes under the concepts' vectors over its log-odds of yes without an injection, in nats. Grey "
            "lines are the curves through the control questions, one for each kind of answer, mean over concepts. "
            "Introspection that is noticed lies above its curve on plain questions and below it on reversed ones; the "
            "excess is that distance.",
            shown,
        )
    ]


def _controls_panel(run: IntrospectionRun, document: str, questions: Mapping[str, str]) -> Panel:
    here = [trial for trial in run.shifts if trial.document == document]
    grouped: dict[tuple[str, str], list[TrialShift]] = {}
    for trial in here:
        grouped.setdefault((trial.item, trial.answer_kind), []).append(trial)
    rows = []
    for (item, kind), of_question in sorted(grouped.items()):
        first = of_question[0]
        shifts = [trial.shift for trial in of_question if np.isfinite(trial.shift)]
        rows.append(
            {
                "x": float(np.mean([trial.baseline for trial in of_question])),
                "y": float(np.mean(shifts)) if shifts else float("nan"),
                "group": _group(first),
                "question": item,
                "text": questions.get(item, ""),
                "family": first.family,
                "kind of answer": kind,
                "trials": len(shifts),
            }
        )
    curves = mean_curves(distinct_answers([trial for trial in here if trial.family != SALIENCE]))
    lines = [
        {"x": float(x), "line": float(y), "of": kind}
        for kind, curve in curves.items()
        for x, y in zip(curve.baselines, curve.shifts, strict=True)
    ]
    present = [group for group in COLOURS if any(row["group"] == group for row in rows)]
    chart = points(
        [*rows, *lines],
        "log-odds of yes without an injection (nats)",
        "shift toward yes (nats)",
        {group: COLOURS[group] for group in present},
        {group: SHAPES[group] for group in present},
    )
    return Panel(f"document {document}", chart, [*rows, *lines])


def _group(trial: TrialShift) -> str:
    if trial.family not in SIDED:
        return CONTROLS
    if trial.family == SALIENCE:
        return OUTSTANDING
    return PLAIN if trial.side > 0 else REVERSED


def _excesses(run: IntrospectionRun) -> list[Figure]:
    panels = []
    for document in dict.fromkeys(excess.document for excess in run.excesses):
        rows = [
            interval_row(excess.vectors, excess.fit.excess, dose=excess.dose, near=excess.fit.near)
            for excess in run.excesses
            if excess.document == document
        ]
        panels.append(Panel(f"document {document}", intervals(rows, "excess over control questions (nats)"), rows))
    wordings = [interval_row(name, interval) for name, interval in run.excess_by_wording.items()]
    if wordings:
        title = f"document {run.plan.ordered_documents[0]}, the concepts' vectors by wording of the question"
        panels.append(Panel(title, intervals(wordings, "excess over control questions (nats)", colour=PINK), wordings))
    if not panels:
        return []
    return [
        Figure(
            "excess",
            "The excess of introspection over control questions, by what was injected",
            "95% intervals, each by itself. Random vectors are rotations of the concepts' vectors, with the same dose "
            "or with the same norm. What random vectors do as well says nothing about concepts.",
            panels,
        )
    ]


def results_figure(name: str, title: str, results: Sequence[Result], axis: str) -> Figure:
    """A figure of means or contrasts, a panel for each document.

    Args:
        name: Name of the figure's files.
        title: What the figure shows.
        results: The results.
        axis: Title of the axis, with its unit.
    """
    panels = []
    for document in dict.fromkeys(result.document for result in results):
        rows = [
            interval_row(result.name, result.interval, pairs=result.pairs, missing=result.missing)
            for result in results
            if result.document == document
        ]
        panels.append(Panel(f"document {document}" if document else "documents compared", intervals(rows, axis), rows))
    caption = (
        "95% intervals, each by itself. Shifts are toward yes; on introspection questions toward 'noticed', on "
        "salience questions toward 'something stands out'."
    )
    return Figure(name, title, caption, panels)
