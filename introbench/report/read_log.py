"""What tables need of a log: a few facts of the run, and of each trial its factors, its score and its self-checks.

An .eval log is a zip file with one JSON file for each sample, most of which are the events that the log viewer shows.
Inspect's reader builds an object of every event, and its import takes longer than a table. Here a sample's JSON is read
up to its events, and Inspect is asked only for logs of other formats.
"""

import gc
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from pydantic_core import from_json

from introbench.errors import InputError
from introbench.report.log_files import opened, unreadable
from introbench.report.typed import header_of, sample_of

if sys.version_info < (3, 14):  # older versions of Python cannot read what Inspect compresses without its dependency
    import zipfile_zstd  # type: ignore[import-untyped]  # noqa: F401

if TYPE_CHECKING:  # imported when a log of another format is read
    from inspect_ai.log import EvalLog

HEADER, START = "header.json", "_journal/start.json"
"""Files of the zip file: what a finished run wrote of itself, and what a run writes when it begins."""
_EVENTS = b',"events":'
"""What stands in a sample's JSON between all that is read here and the events."""
_READ = {"id", "epoch", "input", "metadata", "scores", "output"}
"""What is read of a sample's JSON."""


@dataclass(frozen=True)
class LoggedScore:
    """A score of a trial.

    Attributes:
        metadata: The exact numbers; None if nothing could be read.
    """

    metadata: Mapping[str, Any] | None


@dataclass(frozen=True)
class LoggedTrial:
    """One trial of a log, with the names that Inspect's samples have for the same.

    Attributes:
        metadata: The trial's factors.
        scores: The trial's scores, by scorer; None if it was not scored.
        self_checks: What the run's checks of itself had found; None in logs that do not say it.
        question: Text of the last message that the user sent.
        id: The sample's id.
        epoch: Which repetition it is, counted from 1.
        arms: The provider's records of the arms, if they were asked for.
    """

    metadata: dict[str, Any]
    scores: Mapping[str, LoggedScore] | None
    self_checks: Mapping[str, Any] | None
    question: str = ""
    id: str = ""
    epoch: int = 1
    arms: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class LoggedRun:
    """A log, as far as tables need it.

    Attributes:
        model: The model's name in Inspect.
        facts: What the log says about its run as a whole.
        status: Inspect's word for how the run ended.
        times: When the run began and when it ended, as text; empty where that is not known.
        planned: How many trials were to be run; None if the run did not come to its end.
        metrics: The values of all metrics, by name.
        trials: The trials, in the order of their ids.
        task: The name of the task.
        arguments: The task's arguments.
        rules: Version of the rules by which its verdict was reached; 1 in logs that do not say it.
    """

    model: str
    facts: Mapping[str, Any]
    status: str
    times: tuple[str, str]
    planned: int | None
    metrics: Mapping[str, float]
    trials: Sequence[LoggedTrial]
    task: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rules: int = 1


def read_run(location: str, *, with_arms: bool = False) -> LoggedRun:
    """Read a log of any format.

    Args:
        location: The file.
        with_arms: Whether to keep the provider's records of the arms, which tables do not need.
    """
    if Path(location).suffix != ".eval":
        return of_whole_log(location, _by_inspect(location, header_only=False), with_arms=with_arms)
    with _unpacked(location) as file, _no_garbage_collection():
        header = header_of(location, _header(file))
        trials = [_trial(sample, with_arms) for sample in _samples(location, file)]
    results, stats = header.get("results") or {}, header.get("stats") or {}
    scores = results.get("scores", [])
    return LoggedRun(
        model=header["eval"]["model"],
        facts=header["eval"].get("metadata") or {},
        status=header.get("status", "started"),
        times=(stats.get("started_at") or "", stats.get("completed_at") or ""),
        planned=results.get("total_samples"),
        metrics={name: metric["value"] for score in scores for name, metric in score["metrics"].items()},
        trials=trials,
        task=header["eval"].get("task", ""),
        arguments=header["eval"].get("task_args") or {},
        rules=rules_of(metric for score in scores for metric in score["metrics"].items()),
    )


def _by_inspect(location: str, *, header_only: bool) -> "EvalLog":
    """A log of another format than .eval, as Inspect reads it.

    Raises:
        InputError: It cannot be read.
    """
    from inspect_ai.log import read_eval_log  # noqa: PLC0415 (takes longer than a table)

    try:
        return read_eval_log(location, header_only=header_only, resolve_attachments=False)
    except Exception as error:  # Inspect lets the errors of file systems, of JSON and of its own types through
        raise unreadable(location, error) from error


def of_whole_log(location: str, log: "EvalLog", *, with_arms: bool = False) -> LoggedRun:
    """The same of a log that Inspect has read."""
    scores = log.results.scores if log.results else []
    return LoggedRun(
        model=log.eval.model,
        facts=log.eval.metadata or {},
        status=log.status,
        times=(str(log.stats.started_at or ""), str(log.stats.completed_at or "")),
        planned=log.results.total_samples if log.results else None,
        metrics={name: metric.value for score in scores for name, metric in score.metrics.items()},
        trials=[
            _trial(sample_of(location, sample.model_dump(include=_READ, warnings=False)), with_arms)
            for sample in log.samples or []
        ],
        task=log.eval.task,
        arguments=log.eval.task_args,
        rules=rules_of((name, metric.model_dump()) for score in scores for name, metric in score.metrics.items()),
    )


def rules_of(metrics: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """The version of the verdict's rules that a log's metrics were made by; 1 if none of them says it.

    Args:
        metrics: Each metric's name, and its fields in the log.
    """
    for name, metric in metrics:
        value = metric["value"] if name == "rules" else None  # a metric of its own up to task version 5
        if value is not None and math.isfinite(value):
            return int(value)
        if "rules" in (metric.get("params") or {}):
            return int(metric["params"]["rules"])
    return 1


def status_of(location: str) -> str:
    """Inspect's word for how a log's run ended."""
    if Path(location).suffix != ".eval":
        return _by_inspect(location, header_only=True).status
    with _unpacked(location) as file:
        return str(header_of(location, _header(file)).get("status", "started"))


def task_of(location: str) -> str:
    """The name of the task that an .eval log is of, as its header says it; empty if the file is none."""
    try:
        with _unpacked(location) as file:
            return str(header_of(location, _header(file))["eval"]["task"])
    except InputError:
        return ""


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Reading makes many objects, all of which stay; looking for garbage among them takes a third of the time."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


@contextmanager
def _unpacked(location: str) -> Iterator[ZipFile]:
    """The members of an .eval log; whatever is wrong with the file is said in one line.

    Raises:
        InputError: It cannot be opened, or is no zip file of JSON.
    """
    try:
        with opened(location) as stream, ZipFile(stream) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # damaged files have errors of the zip format, of three compressions, and of JSON
        raise unreadable(location, error) from error


def _trial(sample: Mapping[str, Any], with_arms: bool) -> LoggedTrial:
    scores = sample.get("scores")
    said = (sample.get("output") or {}).get("metadata") or {}
    return LoggedTrial(
        metadata=sample["metadata"],
        scores=None if scores is None else {name: LoggedScore(score.get("metadata")) for name, score in scores.items()},
        self_checks=said.get("self_checks"),
        question=_question(sample.get("input")),
        id=str(sample["id"]),
        epoch=sample["epoch"],
        arms=said.get("arms", ()) if with_arms else (),
    )


def _question(messages: Any) -> str:
    """Text of the last message that the user sent."""
    if not isinstance(messages, list):
        return str(messages or "")
    asked = [
        message.get("content") for message in messages if isinstance(message, dict) and message.get("role") == "user"
    ]
    return asked[-1] if asked and isinstance(asked[-1], str) else ""


def _header(file: ZipFile) -> dict[str, Any]:
    """What is known of the run as a whole; of one that was cut off, what it began with."""
    header: dict[str, Any] = json.loads(file.read(HEADER if HEADER in file.namelist() else START))
    return header


def _samples(location: str, file: ZipFile) -> list[dict[str, Any]]:
    """What is read of each sample, in Inspect's order; of a sample that was logged twice, the last one."""
    samples = [sample_of(location, sample) for sample in _parts_read(file)]
    samples.sort(key=lambda sample: (sample["epoch"], _ordered(sample["id"])))
    return samples


def _ordered(sample_id: str | int) -> str:
    """A sample's id such that the numbers of samples without names are in order, as Inspect sorts them."""
    return sample_id if isinstance(sample_id, str) else str(sample_id).zfill(20)


def _parts_read(file: ZipFile) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(file.namelist()):
        if name.startswith("samples/") and name.endswith(".json"):
            sample = _up_to_events(file.read(name))
            yield {key: sample[key] for key in _READ & sample.keys()}


def _up_to_events(text: bytes) -> dict[str, Any]:
    """A sample's values, at least those that stand before its events.

    A cut elsewhere than at the sample's own events would leave brackets open, and a quoted text has no quotation mark
    without a backslash before it: what can be read is the beginning of the sample. It is read whole where that lacks a
    part, such as the scores of a trial that was not scored.
    """
    beginning, _, rest = text.partition(_EVENTS)
    if rest:
        try:
            sample: dict[str, Any] = from_json(beginning + b"}")
        except ValueError:
            pass
        else:
            if sample.keys() >= _READ:
                return sample
    whole: dict[str, Any] = json.loads(text)
    return whole
