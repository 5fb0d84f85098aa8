"""What is read of a log without Inspect is what Inspect reads."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from inspect_ai._util.error import EvalError
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log

from introbench.report.find import TASKS
from introbench.report.log import log_table
from introbench.report.read_log import HEADER, LoggedRun, of_whole_log, read_run, status_of, task_of

OLD = Path(__file__).parents[1] / "old_logs"


def whole(path: Path) -> LoggedRun:
    """The same as `read_run`, of a log that Inspect has read."""
    return of_whole_log(str(path), read_eval_log(str(path), resolve_attachments=False))


def written(log: EvalLog, path: Path) -> Path:
    """A log in a file of its own."""
    write_eval_log(log, str(path))
    return path


@pytest.fixture
def log() -> EvalLog:
    """A small log as Inspect reads it, for tests to change."""
    return read_eval_log(str(OLD / "introspection.eval"))


@pytest.mark.parametrize("task", TASKS)
def test_a_log_of_each_task_holds_what_inspect_reads(task: str) -> None:
    path = OLD / f"{task}.eval"
    # As text, since a number that is not one equals no other.
    assert repr(read_run(str(path))) == repr(whole(path))
    assert status_of(str(path)) == "success"
    assert task_of(str(path)) == task


def test_json_logs_are_read_by_inspect(log: EvalLog, tmp_path: Path) -> None:
    path = written(log, tmp_path / "log.json")
    assert repr(read_run(str(path))) == repr(whole(OLD / "introspection.eval"))
    assert status_of(str(path)) == "success"
    assert log_table(str(path)) == log_table(str(OLD / "introspection.eval"))


def _cut_off(log: EvalLog) -> None:
    log.status, log.results = "cancelled", None
    log.stats.completed_at = ""


def _with_an_error(log: EvalLog) -> None:
    assert log.samples
    failed = log.samples[3]
    failed.scores, failed.error = None, EvalError(message="lost", traceback="", traceback_ansi="")
    failed.output.metadata = None


def _with_odd_texts(log: EvalLog) -> None:
    """Texts and keys that look like the place where a sample's events begin, and texts that are attachments."""
    assert log.samples
    sample = log.samples[0]
    sample.input = 'A text with ,"events": in it, a backslash \\ and a quotation mark ".'
    sample.metadata |= {"first": 1, "events": [1, {"events": []}], "text": "long " * 100}
    assert sample.output.metadata
    sample.output.metadata["events"] = [2]


def _with_numbers_for_names(log: EvalLog) -> None:
    assert log.samples
    for number, sample in enumerate(log.samples):
        sample.id, sample.epoch = 107 - number, 1 + number % 2


@pytest.mark.parametrize("change", [_cut_off, _with_an_error, _with_odd_texts, _with_numbers_for_names])
def test_other_logs_are_read_as_inspect_reads_them(
    log: EvalLog, tmp_path: Path, change: Callable[[EvalLog], None]
) -> None:
    change(log)
    path = written(log, tmp_path / "log.eval")
    run = read_run(str(path))
    assert repr(run) == repr(whole(path))
    assert repr(run) != repr(read_run(str(OLD / "introspection.eval")))
    assert status_of(str(path)) == run.status == log.status


def test_a_run_without_an_end_has_the_trials_that_were_logged(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with ZipFile(OLD / "introspection.eval") as old, ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != HEADER:
                new.writestr(name, old.read(name))
    run = read_run(str(path))
    assert repr(run) == repr(whole(path))
    assert (run.status, run.planned, run.times) == ("started", None, ("", ""))
    assert len(run.trials) == 104


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_sample_that_was_logged_twice_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    path.write_bytes((OLD / "introspection.eval").read_bytes())
    with ZipFile(path, "a") as file:
        name = next(name for name in file.namelist() if name.startswith("samples/"))
        file.writestr(name, file.read(name).replace(b'"bank":0', b'"bank":7'))
    run = read_run(str(path))
    assert repr(run) == repr(whole(path))
    assert [trial.metadata["bank"] for trial in run.trials].count(7) == 1


def test_what_is_no_log_has_no_task(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    path.write_text("nothing")
    assert task_of(str(path)) == ""
    with ZipFile(path, "w") as file:
        file.writestr("other.json", "{}")
    assert task_of(str(path)) == ""


def test_a_table_is_made_without_inspect_torch_and_distributions() -> None:
    heavy = ("inspect_ai", "pydantic", "torch", "transformers", "scipy.stats", "matplotlib")
    script = f"""
import sys
from introbench import cli
status = cli.main(["table", {str(OLD / "introspection.eval")!r}])
print([name for name in {heavy!r} if name in sys.modules], status)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
