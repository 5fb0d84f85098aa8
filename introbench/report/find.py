"""Find the log that a command is about: a file, or the latest one in a folder."""

import re
from collections.abc import Sequence
from pathlib import Path

from introbench.errors import InputError
from introbench.report.read_log import task_of

TASKS = (
    "calibrate",
    "introspection",
    "logit_lens",
    "identification",
    "location",
    "model_swap",
    "probe",
    "sweep",
    "top_of_mind",
)
"""Tasks whose logs have tables."""
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d[^_]*_([^_.]+)(_.*)?\.(eval|json)")
"""Inspect's names of logs: the time, the task with dashes for underscores, and what identifies the run."""


def find_log(where: str, tasks: Sequence[str] = TASKS) -> str:
    """The log file itself, or a folder's latest log of some tasks.

    Args:
        where: A log file, or a folder.
        tasks: Names of tasks.

    Raises:
        InputError: There is no such file, or no such log in the folder.
    """
    path = Path(where)
    if path.is_file():
        return where
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
            if _task(file).removeprefix("introbench/").replace("-", "_") in tasks:
                return str(file)
    raise InputError(f"log {where!r}: no introbench log there; expected a log file or a folder with one; run one first")


def _task(file: Path) -> str:
    """The name of the task that a file is a log of; empty if it is no log."""
    if match := _NAME.fullmatch(file.name):
        return match[1]
    return task_of(file) if file.suffix == ".eval" else ""
