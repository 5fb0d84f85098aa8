"""The evaluations of one pytest session, each of which is run once for all tests and processes of the session."""

import gc
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from inspect_ai import eval
from inspect_ai.log import EvalLog, read_eval_log

from introbench.errors import InputError, first_line
from introbench.provider.inspect_private import PrerequisiteError
from introbench.regression.baseline import Record, write_baseline
from introbench.regression.evaluation import Evaluation

BATTERY = {"documents": "info", "formats": "yes-no"}
"""Arguments of the introspection task for the shipped checks: answers in words, under the reference document alone. The
effect of the document shows in the answers with nothing injected, in half the time that a verdict on it would take."""
TASK = "introbench/introspection"
_DONE, _FAILED, _COMPARED = "done", "failed.txt", "compared"
"""Files beside a log: the evaluation was finished; it failed, and why; a test compared it with a baseline file."""


class EvaluationFailedError(Exception):
    """An evaluation that was not finished, with the reason in one line."""


@dataclass
class Session:
    """Runs evaluations, and keeps their logs in a folder that all processes of a pytest session share.

    Attributes:
        folder: The folder of the logs.
        model_args: Arguments of every model, as they follow `-M`.
    """

    folder: Path
    model_args: Mapping[str, Any]
    _known: dict[str, Evaluation] = field(default_factory=dict)

    def evaluate(
        self, model: str, task: str, limit: int | None, arguments: Mapping[str, Any], repeat: int = 0
    ) -> Evaluation:
        """An evaluation, from this session's logs if it has been run.

        Args:
            model: The model's name in Inspect, `inject/NAME`.
            task: The task's name in Inspect.
            limit: Number of trials to run, the first ones, as `inspect eval --limit` does; all if it is None.
            arguments: Arguments of the task.
            repeat: Evaluations with different numbers are run apart, even if everything else is the same.

        Raises:
            EvaluationFailedError: The evaluation was not finished, now or when it was first asked for.
        """
        identity = json.dumps([model, task, limit, dict(arguments), repeat], sort_keys=True, default=str)
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        if key not in self._known:
            folder = self.folder / key
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):
                if not (folder / _DONE).exists() and not (folder / _FAILED).exists():
                    self._run(folder, model, task, limit, arguments)
            if (folder / _FAILED).exists():
                raise EvaluationFailedError((folder / _FAILED).read_text(encoding="utf-8"))
            (path,) = folder.glob("*.eval")
            self._known[key] = Evaluation(read_eval_log(str(path), resolve_attachments="core"))
        return self._known[key]

    def compared(self, evaluation: Evaluation) -> None:
        """Note that a test compares an evaluation with a baseline file, so that a new baseline file contains it."""
        for key, known in self._known.items():
            if known is evaluation:
                (self.folder / key / _COMPARED).touch()

    def _run(self, folder: Path, model: str, task: str, limit: int | None, arguments: Mapping[str, Any]) -> None:
        for path in folder.glob("*.eval"):  # left by a process that was stopped during the evaluation
            path.unlink()
        with _undisturbed():
            try:
                (log,) = eval(
                    task,
                    model=model,
                    model_args=dict(self.model_args),
                    task_args=dict(arguments),
                    limit=limit,
                    log_dir=str(folder),
                    log_format="eval",
                    log_realtime=False,
                    score_display=False,
                    display="none",
                    ctl_server=False,
                )
                reason = _reason(log)
            except Exception as error:
                reason = str(error) if isinstance(error, PrerequisiteError | InputError) else first_line(error)
        if reason:
            (folder / _FAILED).write_text(f"{task} on {model}: {reason}", encoding="utf-8")
        else:
            (folder / _DONE).touch()


def save_baseline(folder: Path, path: Path) -> int:
    """Write the evaluations that tests compared with a baseline file to a new one.

    Args:
        folder: The folder of the session's logs.
        path: The new baseline file.

    Returns:
        Number of evaluations in the file.

    Raises:
        InputError: There are no such evaluations, one failed, or the file cannot be written.
    """
    failed = sorted(folder.glob(f"*/{_FAILED}"))
    if failed:
        raise InputError(f"baseline {path}: not written; {failed[0].read_text(encoding='utf-8')}")
    logs = [log for marked in sorted(folder.glob(f"*/{_COMPARED}")) for log in marked.parent.glob("*.eval")]
    if not logs:
        raise InputError(f"baseline {path}: not written; no test that was run compares with a baseline")
    records = [Record.of(read_eval_log(str(log), resolve_attachments="core")) for log in logs]
    try:
        write_baseline(path, records)
    except OSError as error:
        raise InputError(
            f"baseline {path}: not written ({error}); expected a file that can be; the logs are kept"
        ) from error
    return len(logs)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hide the warnings and log messages of an evaluation from a project's tests, which may treat them as errors."""
    root = logging.getLogger()
    level, levels = root.level, {handler: handler.level for handler in root.handlers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for handler in levels:
            handler.setLevel(max(handler.level, logging.WARNING))
        try:
            yield
        finally:
            gc.collect()  # objects that an event loop left behind would warn later, during another test
            root.setLevel(level)
            for handler, original in levels.items():
                handler.setLevel(original)


def _reason(log: EvalLog) -> str:
    """Why an evaluation cannot be used; empty if it can."""
    if log.status == "cancelled":
        raise KeyboardInterrupt
    if log.status != "success":
        return first_line(Exception(log.error.message)) if log.error else log.status
    return "" if log.samples or log.eval.dataset.samples else "no trials"
