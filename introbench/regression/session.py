"""The evaluations of one pytest session: each is run once, whoever asks for it, in whichever process."""

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
"""Arguments of the introspection task for the shipped checks: in words, under the reference document alone. What the
document does by itself shows in the answers with nothing injected, at half the time of a verdict on it."""
TASK = "introbench/introspection"
_DONE, _FAILED, _COMPARED = "done", "failed.txt", "compared"
"""Files beside a log: it is whole; why there is none; a test held it against a baseline."""


class EvaluationFailedError(Exception):
    """An evaluation did not come to its end; one line that says why."""


@dataclass
class Session:
    """Runs evaluations, and keeps their logs in a folder that the processes of a session share.

    Attributes:
        folder: Of the logs.
        model_args: Of every model, as after `-M`.
    """

    folder: Path
    model_args: Mapping[str, Any]
    _known: dict[str, Evaluation] = field(default_factory=dict)

    def evaluate(
        self, model: str, task: str, limit: int | None, arguments: Mapping[str, Any], repeat: int = 0
    ) -> Evaluation:
        """An evaluation, from this session's logs if it has been run.

        Args:
            model: Inspect's name of it: `inject/NAME`.
            task: Inspect's name of it.
            limit: Run the first trials alone, as `inspect eval --limit` does.
            arguments: Of the task.
            repeat: Another number is another evaluation of the same.

        Raises:
            EvaluationFailedError: It did not come to its end, now or when it was first asked for.
        """
        asked = json.dumps([model, task, limit, dict(arguments), repeat], sort_keys=True, default=str)
        key = hashlib.sha256(asked.encode()).hexdigest()[:16]
        if key not in self._known:
            own = self.folder / key
            own.mkdir(parents=True, exist_ok=True)
            with FileLock(own / "lock"):
                if not (own / _DONE).exists() and not (own / _FAILED).exists():
                    self._run(own, model, task, limit, arguments)
            if (own / _FAILED).exists():
                raise EvaluationFailedError((own / _FAILED).read_text(encoding="utf-8"))
            (path,) = own.glob("*.eval")
            self._known[key] = Evaluation(read_eval_log(str(path), resolve_attachments="core"))
        return self._known[key]

    def compared(self, evaluation: Evaluation) -> None:
        """Note that a test holds an evaluation against the baseline, so that a new baseline has it."""
        for key, each in self._known.items():
            if each is evaluation:
                (self.folder / key / _COMPARED).touch()

    def _run(self, own: Path, model: str, task: str, limit: int | None, arguments: Mapping[str, Any]) -> None:
        for path in own.glob("*.eval"):  # of a process that was ended half way
            path.unlink()
        with _undisturbed():
            try:
                (log,) = eval(
                    task,
                    model=model,
                    model_args=dict(self.model_args),
                    task_args=dict(arguments),
                    limit=limit,
                    log_dir=str(own),
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
            (own / _FAILED).write_text(f"{task} on {model}: {reason}", encoding="utf-8")
        else:
            (own / _DONE).touch()


def save_baseline(folder: Path, path: Path) -> int:
    """Write the evaluations that tests held against a baseline as a new one.

    Args:
        folder: Of a session's logs.
        path: The baseline's file.

    Returns:
        How many evaluations it has.

    Raises:
        InputError: There is none, one failed, or the file cannot be written.
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
    """Keep what an evaluation warns of and logs out of the tests of a project, which may count either as errors."""
    root = logging.getLogger()
    level, levels = root.level, {handler: handler.level for handler in root.handlers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for handler in levels:
            handler.setLevel(max(handler.level, logging.WARNING))
        try:
            yield
        finally:
            gc.collect()  # what an event loop has left to the collector would warn later, in somebody else's test
            root.setLevel(level)
            for handler, before in levels.items():
                handler.setLevel(before)


def _reason(log: EvalLog) -> str:
    """Why an evaluation is of no use; empty if it is."""
    if log.status == "cancelled":
        raise KeyboardInterrupt
    if log.status != "success":
        return first_line(Exception(log.error.message)) if log.error else log.status
    return "" if log.samples or log.eval.dataset.samples else "no trials"
