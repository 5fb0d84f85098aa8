"""The report: one self-contained page from any mix of logs, and the files of its figures."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import ScoredTrial, read_trials
from introbench.page import (
    calibrate,
    identification,
    introspection,
    location,
    logit_lens,
    model_swap,
    probe,
    sweep,
    top_of_mind,
)
from introbench.page.figure import CONFIG, Figure
from introbench.page.published import published_table
from introbench.page.scripts import scripts
from introbench.report.log import ReadLog
from introbench.report.report import Report
from introbench.report.verdict import interval_text

FIGURES: dict[str, Callable[[Sequence[ScoredTrial], Mapping[str, str]], list[Figure]]] = {
    "dose_response": calibrate.figures,
    "yes_shift": introspection.figures,
    "lens_gap": logit_lens.figures,
    "identified": identification.figures,
    "located": location.figures,
    "arm_shifts": model_swap.figures,
    "probed": probe.figures,
    "swept": sweep.figures,
    "top_of_mind_texts": top_of_mind.figures,
}
"""For the name of each task's scorer, what makes the figures of its trials."""


PUBLISHED = ("yes_shift", "arm_shifts")
"""Scorers of the tasks for which probabilities were published."""


@dataclass(frozen=True)
class Section:
    """What the page says about one log.

    Attributes:
        anchor: Name of the section on the page and of its figures' files.
        title: Task and model.
        report: The conclusion and the tables.
        figures: The figures.
        below: What was run, and what it found out about itself.
        provenance: Facts of the run, by name.
    """

    anchor: str
    title: str
    report: Report
    figures: Sequence[Figure]
    below: Sequence[str]
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class ModelRow:
    """A model in the table that compares models.

    Attributes:
        model: The model.
        anchor: Its section.
        verdict: The verdict's name.
        excess: Excess of introspection in nats, for the order.
        text: The excess with its interval.
        dose: Mean dose of the concepts' vectors, as text.
        live: How many vectors are live, as text.
    """

    model: str
    anchor: str
    verdict: str
    excess: float
    text: str
    dose: str
    live: str


def section_of(log: ReadLog, number: int = 0, headings: Mapping[str, str] | None = None) -> Section:
    """What the page says about a log.

    Args:
        log: The log.
        number: Of the section, which makes its name unique.
        headings: What stands above the section in place of the task's name, for some tasks.
    """
    questions: dict[str, str] = {}
    for trial in log.scored:
        name = trial.metadata.get("question")
        if isinstance(name, str):
            questions.setdefault(name, trial.question)
    run, trials, report = log.run, log.trials, log.report
    task = run.task.rpartition("/")[2]
    published = published_table(task, run.model, read_trials(trials)) if log.scorer in PUBLISHED else []
    facts = {
        "log": Path(log.location).name,
        "model": run.model,
        "status": run.status,
        "began": run.times[0],
        "ended": run.times[1],
        **{name: _fact(value) for name, value in run.facts.items()},
        **{f"-T {name}": _fact(value) for name, value in run.arguments.items() if value is not None},
    }
    return Section(
        anchor=re.sub(r"[^a-z0-9]+", "-", f"{number + 1}-{task}-{run.model}".lower()).strip("-"),
        title=f"{(headings or {}).get(task, task.replace('_', ' '))}: {run.model}",
        report=replace(report, tables=[*report.tables, *published]),
        figures=[figure for figure in FIGURES[log.scorer](trials, questions) if figure.panels],
        below=log.below(full=True),
        provenance={name: value for name, value in facts.items() if value},
    )


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(one)}" for name, one in value.items())
    return ", ".join(map(_fact, value)) if isinstance(value, list) else str(value)


def compared(logs: Sequence[ReadLog], sections: Sequence[Section]) -> list[ModelRow]:
    """The introspection runs of several models side by side, ordered by excess, the largest first."""
    rows = []
    for log, section in zip(logs, sections, strict=True):
        if log.scorer != "yes_shift":
            continue
        run = IntrospectionRun(log.trials)
        headline, verdict = run.headline, run.verdict
        if headline is None or verdict is None:
            continue
        excess = headline.fit.excess
        live = [is_live for is_live in run.live.values() if is_live is not None]
        rows.append(
            ModelRow(
                log.run.model,
                section.anchor,
                "none" if verdict.lack else verdict.name,
                excess.estimate,
                interval_text(excess, ""),
                f"{headline.dose:.3f}",
                f"{sum(live)} of {len(live)}" if live else "not measured",
            )
        )
    return sorted(rows, key=lambda row: math.inf if math.isnan(row.excess) else -row.excess)


def page(logs: Sequence[ReadLog], headings: Mapping[str, str] | None = None) -> str:
    """The page of some logs.

    Args:
        logs: The logs, in the order of their sections.
        headings: What stands above sections in place of the task's name, for some tasks.
    """
    sections = [section_of(log, number, headings) for number, log in enumerate(logs)]
    environment = Environment(loader=PackageLoader("introbench.page", ""), autoescape=True, undefined=StrictUndefined)
    charts = {
        f"{section.anchor}-{figure.name}-{number}": panel.chart("container")
        for section in sections
        for figure in section.figures
        for number, panel in enumerate(figure.panels)
    }
    return environment.get_template("page.html.jinja").render(
        sections=sections,
        models=compared(logs, sections) if len(logs) > 1 else [],
        charts=_as_script({"charts": charts, "config": CONFIG}),
        scripts=scripts(),
    )


def _as_script(value: Any) -> str:
    """JSON that stands in a script element, which no text in it can end."""
    return json.dumps(value, allow_nan=False, default=float).replace("<", "\\u003c").replace("&", "\\u0026")


def write_figures(logs: Sequence[ReadLog], folder: Path) -> list[Path]:
    """Write every figure of some logs as PNG, SVG and CSV, in a folder for each log.

    Raises:
        InputError: The package that draws pictures is missing.
    """
    sections = [section_of(log, number) for number, log in enumerate(logs)]
    return [
        path for section in sections for figure in section.figures for path in figure.write(folder / section.anchor)
    ]
