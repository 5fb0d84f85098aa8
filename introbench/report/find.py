"""Find the log that a command is about: a file, or the latest one in a folder."""

from collections.abc import Sequence
from pathlib import Path

from inspect_ai.log import list_eval_logs

from introbench.errors import InputError

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
        for log in list_eval_logs(where):
            if log.task.removeprefix("introbench/").replace("-", "_") in tasks:  # files' names have dashes
                return log.name
    raise InputError(f"log {where!r}: no introbench log there; expected a log file or a folder with one; run one first")
