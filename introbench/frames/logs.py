"""Which logs a data frame is made of: paths, folders, or logs that Inspect has read."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from introbench.errors import InputError, shown
from introbench.report.find import find_logs
from introbench.report.log import ReadLog, log_of, read_log
from introbench.report.read_log import of_whole_log

if TYPE_CHECKING:  # whoever wants no frames needs neither
    import pandas as pd
    from inspect_ai.log import EvalLog

Logs: TypeAlias = "str | os.PathLike[str] | EvalLog | Sequence[str | os.PathLike[str] | EvalLog] | None"
"""A log file or a folder, all of whose logs are read, as a path or URL; a log that Inspect has read; or several."""


def read_logs(logs: Logs, *, with_arms: bool = False) -> list[ReadLog]:
    """Read logs of any of the tasks.

    Args:
        logs: Which logs; None for the folder in which Inspect writes logs.
        with_arms: Whether to keep the provider's records of the arms.

    Raises:
        InputError: There is no such log, or it holds no scored trials of an introbench task.
    """
    given: Iterable[Any] = [] if logs is None else [logs] if _is_one(logs) else logs  # type: ignore[assignment]
    read: list[ReadLog] = []
    for each in [None] if logs is None else given:
        if each is None or isinstance(each, str | os.PathLike):
            places = find_logs([] if each is None else [os.fspath(each)])
            read += [read_log(place, with_arms=with_arms) for place in places]
        elif hasattr(each, "eval") and hasattr(each, "samples"):
            location = each.location or f"{each.eval.task} {each.eval.run_id}"
            read.append(log_of(location, of_whole_log(location, each, with_arms=with_arms)))
        else:
            raise InputError(
                f"log {shown(each)}: expected a log file, a folder, or a log that Inspect has read; pass e.g. 'logs'"
            )
    return read


def _is_one(logs: object) -> bool:
    return isinstance(logs, str | os.PathLike) or not isinstance(logs, Sequence)


def identity(log: ReadLog) -> dict[str, str]:
    """The first columns of every frame: which log, task and model a row is of."""
    return {"log": log.location, "task": log.run.task.removeprefix("introbench/"), "model": log.run.model}


def frame(rows: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    """Rows as a data frame, with all of their columns in the order in which they first appear.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 (an optional extra)
    except ImportError:
        raise InputError(
            "pandas: is not installed; expected it for data frames; run: python -m pip install 'introbench[frames]'"
        ) from None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame(rows, columns=columns)
