"""Find the log that a command is about: a file, or the latest one in a folder."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from introbench.errors import InputError, shown
from introbench.report.log_files import LOG_DIR, default_folder, is_remote, local, unreadable
from introbench.report.read_log import task_of

TASKS = (
    "calibrate",
    "introspection",
    "logit_lens",
    "identification",
    "location",
    "model_swap",
    "probe",
    "sampled_detection",
    "sweep",
    "top_of_mind",
)
"""Tasks whose logs have tables."""
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d[^_]*_([^_.]+)(_.*)?\.(eval|json)")
"""Inspect's names of logs: the time, the task with dashes for underscores, and what identifies the run."""


def find_log(where: str | None, tasks: Sequence[str] = TASKS) -> str:
    """The log file itself, or a folder's latest log of some tasks.

    Args:
        where: A log file or a folder, as a path or as a URL of any file system that fsspec knows; None for the folder
            in which Inspect writes logs.
        tasks: Names of tasks.

    Raises:
        InputError: There is no such file, or no such log in the folder.
    """
    place = default_folder() if where is None else where
    for location in _logs_of(place, tasks):
        return location
    raise _none_there(place, where is None)


def find_logs(places: Sequence[str]) -> list[str]:
    """All log files of the tasks: those that are named, and those of each folder, the earliest first.

    Args:
        places: Log files and folders, as for `find_log`; none for the folder in which Inspect writes logs.

    Raises:
        InputError: One of the places holds no such log.
    """
    found: dict[str, None] = {}
    for place in places or [default_folder()]:
        of_place = list(_logs_of(place, TASKS))
        if not of_place:
            raise _none_there(place, not places)
        found |= dict.fromkeys(reversed(of_place))
    return list(found)


def _logs_of(place: str, tasks: Sequence[str]) -> Iterator[str]:
    """A log file itself, or a folder's logs of some tasks, the latest first."""
    for location, task in _remote_logs(place) if is_remote(place) else _local_logs(place):
        if task.removeprefix("introbench/").replace("-", "_") in tasks or location == place:
            yield location


def _none_there(place: str, is_default: bool) -> InputError:
    folder = f" (from {LOG_DIR}, or logs without it)" if is_default else ""
    return InputError(
        f"log {shown(place)}{folder}: no introbench log there; expected a log file or a folder with one; run one first"
    )


def _local_logs(place: str) -> Iterator[tuple[str, str]]:
    """Files of this machine, the latest first, with the names of the tasks that they are logs of."""
    path = local(place)
    try:
        if path.is_file():
            yield place, ""
        files = [(file.stat().st_mtime, file) for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    except OSError as error:
        raise unreadable(place, error) from error
    for _, file in sorted(files, reverse=True):
        yield str(file), _task(file)


def _remote_logs(place: str) -> Iterator[tuple[str, str]]:
    """The same of another file system, as Inspect lists them."""
    import fsspec  # noqa: PLC0415 (not needed for files of this machine)
    from inspect_ai.log import list_eval_logs  # noqa: PLC0415 (takes longer than a table)

    try:
        file_system, path = fsspec.url_to_fs(place)
        if file_system.isfile(path):
            yield place, ""
            return
        logs = list_eval_logs(place)
    except Exception as error:  # every file system has errors of its own
        raise unreadable(place, error) from error
    yield from ((log.name, log.task) for log in logs)


def _task(file: Path) -> str:
    """The name of the task that a file is a log of; empty if it is no log."""
    if match := _NAME.fullmatch(file.name):
        return match[1]
    return task_of(str(file)) if file.suffix == ".eval" else ""
