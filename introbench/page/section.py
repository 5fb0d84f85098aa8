"""What the page says about one log: tables, figures and the facts of its run."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import read_trials
from introbench.page import (
    calibrate,
    identification,
    introspection,
    location,
    logit_lens,
    model_swap,
    probe,
    sampled_detection,
    sweep,
    top_of_mind,
)
from introbench.page.figure import Figure
from introbench.page.models import ModelRow, model_row
from introbench.page.published import published_table
from introbench.report.log import ReadLog, read_log, with_log_odds
from introbench.report.report import Report

FIGURES: dict[str, Callable[[Any, Mapping[str, str]], list[Figure]]] = {
    "dose_response": calibrate.figures,
    "yes_shift": introspection.figures,
    "lens_gap": logit_lens.figures,
    "identified": identification.figures,
    "located": location.figures,
    "arm_shifts": model_swap.figures,
    "probed": probe.figures,
    "answers_graded": sampled_detection.figures,
    "swept": sweep.figures,
    "top_of_mind_texts": top_of_mind.figures,
}
"""For the name of each task's scorer, what makes the figures of what its analysis found, and of questions' texts."""

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
        model: The model's row in the table of models; None if the run has no verdict.
    """

    anchor: str
    title: str
    report: Report
    figures: Sequence[Figure]
    below: Sequence[str]
    provenance: Mapping[str, str]
    model: ModelRow | None = None


def read_sections(locations: Sequence[str], headings: Mapping[str, str] | None = None) -> list[Section]:
    """The sections of some logs, several of them made side by side; no more logs than that are in memory at a time.

    Args:
        locations: The logs, in the order of their sections.
        headings: What stands above sections in place of the task's name, for some tasks.

    Raises:
        InputError: One of them holds no scored trials of an introbench task.
    """
    workers = min(len(locations), os.cpu_count() or 1)
    make = partial(_read_section, headings=headings, others=locations)
    if workers < 2:
        return list(map(make, locations, range(len(locations))))
    # Not forked: a process that has run a model has threads, and a copy of it would wait for their locks for ever.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(make, locations, range(len(locations))))


def _read_section(location: str, number: int, headings: Mapping[str, str] | None, others: Sequence[str]) -> Section:
    return section_of(read_log(location), number, headings, others)


def section_of(
    log: ReadLog, number: int = 0, headings: Mapping[str, str] | None = None, others: Sequence[str] = ()
) -> Section:
    """What the page says about a log.

    Args:
        log: The log.
        number: Of the section, which makes its name unique.
        headings: What stands above the section in place of the task's name, for some tasks.
        others: Logs that are on the page as well; see `introbench.report.log.with_log_odds`.
    """
    questions: dict[str, str] = {}
    for trial in log.scored:
        name = trial.metadata.get("question")
        if isinstance(name, str):
            questions.setdefault(name, trial.question)
    run, found, report = log.run, log.found, with_log_odds(log, others)
    task = run.task.rpartition("/")[2]
    is_judged = isinstance(found, IntrospectionRun)
    published = []
    if log.scorer in PUBLISHED:
        published = published_table(task, run.model, found.read if is_judged else read_trials(log.trials))
    facts = {
        "log": Path(log.location).name,
        "model": run.model,
        "status": run.status,
        "began": run.times[0],
        "ended": run.times[1],
        **{name: _fact(value) for name, value in run.facts.items()},
        **{f"-T {name}": _fact(value) for name, value in run.arguments.items() if value is not None},
    }
    anchor = re.sub(r"[^a-z0-9]+", "-", f"{number + 1}-{task}-{run.model}".lower()).strip("-")
    return Section(
        anchor=anchor,
        title=f"{(headings or {}).get(task, task.replace('_', ' '))}: {run.model}",
        report=replace(report, tables=[*report.tables, *published]),
        figures=[figure for figure in FIGURES[log.scorer](found, questions) if figure.panels],
        below=log.below(full=True),
        provenance={name: value for name, value in facts.items() if value},
        model=model_row(run.model, anchor, found) if is_judged else None,
    )


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(one)}" for name, one in value.items())
    return ", ".join(map(_fact, value)) if isinstance(value, list) else str(value)
