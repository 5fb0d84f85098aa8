"""What the tables of logs show, as data frames: every number with its interval, the excess, and the verdict."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from introbench.analysis.evidence import Evidence
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.named_values import named_values
from introbench.errors import InputError, shown
from introbench.frames.logs import Logs, frame, identity, read_logs
from introbench.report.log import ReadLog
from introbench.report.typed import fitting_together
from introbench.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

_ENDS = ("low", "high", "pairs", "missing")


def contrasts(logs: Logs = None) -> "pd.DataFrame":
    """Every number that the trials of some logs say, of any task, with its interval: means, contrasts, and the rest.

    A row is one number. It has `log`, `task` and `model`; `name`, as `introbench.analysis.named_values` calls it, such
    as `introspection - always_yes | info` for a contrast under the document info; `document`, if the name ends with
    one; `estimate`, with `low` and `high`, the ends of its 95% interval; and `pairs` and `missing`, how many pairs of
    trials were compared and how many were lost. What there is not is NaN. Numbers are nats (differences of log-odds)
    unless their name says bits, accuracy, a probability, AUROC (probe, report), a share, a layer or a count.

    Args:
        logs: A log file, a folder (all of its logs), a log that Inspect has read, or several; by default the folder in
            which Inspect writes logs.

    Raises:
        InputError: A log cannot be read; or pandas is not installed.
    """
    return frame([identity(log) | row for log in read_logs(logs) for row in _named(log)])


def excess(logs: Logs = None) -> "pd.DataFrame":
    """How far introspection moves beyond control questions, in logs of the introspection task.

    A row is one population of vectors (`vectors`: concepts, random vectors, random vectors (equal norm), or the name of
    a control arm) under one `document`. It has `log`, `task` and `model`; `dose`, their mean in nats; the excess over
    the control curve, `estimate`, `low` and `high` in nats; `concepts_minus_these` with `_low` and `_high`, the excess
    of the concepts' vectors minus this one in nats; `bias` toward yes in nats; `flattening`, the share of the log-odds
    that is lost; `near`, the share of introspection questions with control questions near their baselines; `units`,
    `controls` and `missing`, how many vectors, control questions and lost answers; and `excess_KIND`, that of each kind
    of answers (words, digits, letters, colours) in nats. What there is not is NaN.

    Args:
        logs: As for `introbench.contrasts`; logs of other tasks are passed over.

    Raises:
        InputError: There is no log of the introspection task, or one cannot be read; or pandas is not installed.
    """
    rows: list[dict[str, Any]] = []
    for log, run in _introspection(logs):
        for each in run.excesses:
            fit, beside = each.fit, each.beside_concepts
            rows.append(
                identity(log)
                | {"document": each.document, "vectors": each.vectors, "dose": each.dose}
                | _interval("", fit.excess)
                | (_interval("concepts_minus_these", beside.difference if beside else None))
                | {"bias": fit.bias.estimate, "flattening": fit.flattening.estimate, "near": fit.near}
                | {"units": fit.excess.units, "controls": fit.controls, "missing": fit.missing}
                | {f"excess_{kind}": interval.estimate for kind, interval in fit.by_kind.items()}
            )
    return frame(rows)


def verdict(logs: Logs = None) -> "pd.DataFrame":
    """The verdicts of logs of the introspection task, one row a log.

    A row has `log`, `task` and `model`; the `verdict` (`introbench.analysis.verdict` has all of them; missing if no
    introspection question was asked) and its `document`; `lack`, why there can be none; `open_steps`, the steps that
    the run leaves open; the `margin` in nats; what the verdict rests on, each with `_low` and `_high`, in nats:
    `excess`, `random` (the excess under random vectors), `beyond_random`, `salience`, `beyond_salience` and `bias`;
    `flattening` (a share) likewise; and how many `concepts`, `questions`, `controls`, `live` vectors among those
    `tested`, and trials that are `not_finite`.

    Args:
        logs: As for `introbench.contrasts`; logs of other tasks are passed over.

    Raises:
        InputError: There is no log of the introspection task, or one cannot be read; or pandas is not installed.
    """
    rows: list[dict[str, Any]] = []
    for log, run in _introspection(logs):
        found, evidence = run.verdict, run.evidence or Evidence()
        row: dict[str, Any] = identity(log) | {
            "document": next(iter(run.plan.ordered_documents), ""),
            "verdict": found.name if found else None,
            "lack": str(found.lack) if found and found.lack else "",
            "open_steps": ", ".join(step.name for step in found.open_steps) if found else "",
            "margin": run.margin,
        }
        for name in ("excess", "random", "beyond_random", "salience", "beyond_salience", "bias", "flattening"):
            row |= _interval(name, getattr(evidence, name))
        row |= {name: getattr(evidence, name) for name in ("concepts", "questions", "controls", "live", "tested")}
        rows.append(row | {"not_finite": run.not_finite})
    return frame(rows)


def _named(log: ReadLog) -> Iterator[dict[str, Any]]:
    """The named numbers of a log, with the ends of intervals and the counts beside their estimates."""
    with fitting_together(f"log {shown(log.location)}"):
        values = named_values(log.scorer, log.trials)
        documents = {str(metadata["document"]) for metadata, _ in log.trials if "document" in metadata}
    beside = {f"{name} | {end}" for name in values for end in _ENDS}
    for name, value in values.items():
        if name not in beside:
            last = name.rpartition(" | ")[2]
            ends = {end: values.get(f"{name} | {end}", math.nan) for end in _ENDS}
            yield {"name": name, "document": last if last in documents else "", "estimate": value, **ends}


def _introspection(logs: Logs) -> Iterator[tuple[ReadLog, IntrospectionRun]]:
    read = read_logs(logs)
    runs = [log for log in read if isinstance(log.found, IntrospectionRun)]
    if not runs:
        tasks = ", ".join(dict.fromkeys(identity(log)["task"] for log in read)) or "nothing"
        raise InputError(
            f"log of {tasks}: has no excess and no verdict; expected one of introspection; use introbench.contrasts"
        )
    for log in runs:
        with fitting_together(f"log {shown(log.location)}"):
            yield log, log.found


def _interval(name: str, interval: Interval | None) -> dict[str, float]:
    """Columns of an estimate and its ends."""
    numbers = (interval.estimate, interval.low, interval.high) if interval else (math.nan,) * 3
    names = (name or "estimate", f"{name}_low".lstrip("_"), f"{name}_high".lstrip("_"))
    return dict(zip(names, numbers, strict=True))
