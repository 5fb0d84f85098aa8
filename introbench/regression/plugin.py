"""The pytest plugin: options, markers, the fixtures `evaluate` and `baseline`, and the table at the end.

pytest imports this file at every start in every environment that has introbench, so it imports nothing but pytest:
whatever costs time is imported when an option or a fixture asks for it.
"""

import os
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from introbench.errors import ChangeWarning, InputError
from introbench.regression.budget import BUDGET, parse_budget

if TYPE_CHECKING:
    from introbench.regression.baseline import Record
    from introbench.regression.evaluation import Evaluation
    from introbench.regression.paired import Change
    from introbench.regression.session import Session

_T = TypeVar("_T")

NO_MODEL = "no --model: pass e.g. --model inject/smollm2"
NO_BASELINE = "no --baseline: pass the file that --save-baseline FILE wrote"

NOT_MADE = re.compile(r"^(not told|[\w ]+: not checked): ")
"""What the shipped checks say of a self-check that was not made."""

_MARKERS = {
    "invariants": "what must hold on any model, or its numbers mean nothing",
    "gates": "changes against a baseline that fail a build",
    "science": "changes of what a run says; they warn (make them fail with -W error::introbench.errors.ChangeWarning)",
}
_SHARED = pytest.StashKey[Path]()
_SESSION = pytest.StashKey["Session"]()
_RECORDS = pytest.StashKey["list[Record]"]()
_ROWS = pytest.StashKey[list[list[str]]]()
_SAVED = pytest.StashKey[str]()
_KEEP = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("introbench", "regression tests of language models (introbench)")
    group.addoption(
        "--model", action="append", metavar="inject/NAME", help="model under test; repeat it to test several"
    )
    group.addoption(
        "-M", action="append", metavar="KEY=VALUE", dest="introbench_model_args", help="argument of the models"
    )
    group.addoption(
        "-T",
        action="append",
        metavar="KEY=VALUE",
        dest="introbench_task_args",
        help="argument of the introspection task in the shipped checks (pytest --pyargs introbench.regression)",
    )
    group.addoption("--baseline", type=Path, metavar="FILE", help="compare with this baseline, or Inspect log")
    group.addoption("--save-baseline", type=Path, metavar="FILE", help="write what is compared as a new baseline")
    group.addoption(
        "--budget",
        type=parse_budget,
        default=BUDGET,
        metavar="NATS",
        help=f"largest change of a mean that the shipped gates put up with; {BUDGET:g} by default",
    )
    group.addoption("--eval-logs", type=Path, metavar="DIR", help="keep the logs of evaluations there")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and refuse options that cannot be served before anything is run."""
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning} (introbench)")
    models = config.getoption("model") or []
    for model in models:
        if not model.startswith("inject/"):
            raise pytest.UsageError(f"--model {model}: cannot be injected into; expected inject/NAME; add inject/")
    if config.getoption("save_baseline") and len(models) != 1:
        raise pytest.UsageError(
            f"--save-baseline with {len(models)} models: expected one, whose numbers the file holds; pass one --model"
        )
    if config.getoption("save_baseline"):
        _refuse_what_cannot_be_written(config.getoption("save_baseline"))
    for option in ("introbench_model_args", "introbench_task_args"):
        _arguments(config, option)
    if config.getoption("baseline"):
        config.stash[_RECORDS] = _read_baseline(config.getoption("baseline"))


def _refuse_what_cannot_be_written(path: Path) -> None:
    """Refuse a file before hours are spent on what is to stand in it."""
    nearest = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(path if path.exists() else nearest, os.W_OK):
        raise pytest.UsageError(f"--save-baseline {path}: cannot be written; expected a file that can be; correct it")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the logs that nobody asked to keep."""
    kept = config.getoption("eval_logs") or config.stash.get(_KEEP, False)
    if _SHARED in config.stash and not _is_worker(config) and not kept:
        shutil.rmtree(config.stash[_SHARED], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let a worker of pytest-xdist know where evaluations are shared."""
    node.workerinput["introbench"] = str(_folder(node.config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a model once for every model."""
    if "introbench_model" in metafunc.fixturenames:
        models = [
            # One load of a model where pytest-xdist runs with --dist loadgroup.
            pytest.param(model, marks=[pytest.mark.xdist_group(f"introbench {model}")] if has_xdist else [])
            for has_xdist in [metafunc.config.pluginmanager.hasplugin("xdist")]
            for model in metafunc.config.getoption("model") or []
        ]
        none = pytest.param(None, marks=pytest.mark.skip(reason=NO_MODEL))
        metafunc.parametrize("introbench_model", models or [none], indirect=True, scope="session")


class Evaluate:
    """Runs evaluations of one model; what was asked for before is not run again in the same session.

    Args:
        session: Whose evaluations they are.
        model: Inspect's name of the model.
        given: Arguments of the introspection task for the shipped checks, as the user gave them.
    """

    def __init__(self, session: "Session", model: str, given: Mapping[str, Any]) -> None:
        self._session = session
        self._model = model
        self.given = given

    def __call__(self, task: str, limit: int | None = None, **arguments: Any) -> "Evaluation":
        """Run a task, or look up its evaluation.

        Args:
            task: Such as `introbench/introspection`.
            limit: Run the first trials alone.
            **arguments: Of the task.
        """
        return self._evaluated(task, limit, arguments)

    def again(self, task: str, limit: int | None = None, **arguments: Any) -> "Evaluation":
        """The same once more, computed anew."""
        return self._evaluated(task, limit, arguments, repeat=1)

    def _evaluated(self, task: str, limit: int | None, arguments: Mapping[str, Any], repeat: int = 0) -> "Evaluation":
        __tracebackhide__ = True
        from introbench.regression.session import EvaluationFailedError  # noqa: PLC0415 (costs seconds)

        try:
            return self._session.evaluate(self._model, task, limit, arguments, repeat)
        except EvaluationFailedError as error:
            reason = str(error)
        pytest.fail(reason, pytrace=False)  # outside the handler, so that there is no chain of errors


class Baseline:
    """Holds evaluations against a baseline.

    Args:
        config: pytest's.
        session: Whose evaluations are compared.
        rows: Rows of the table at the end; those of this test are added.
    """

    def __init__(self, config: pytest.Config, session: "Session", rows: list[list[str]]) -> None:
        self._config = config
        self._session = session
        self._rows = rows

    def check(
        self,
        result: "Evaluation",
        metric: str = "shift",
        budget: float = BUDGET,
        *,
        families: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        warn: bool = False,
    ) -> None:
        """Compare an evaluation with the baseline, pair by pair on the same trials.

        Fails if the mean of any question family under any document is shown to have changed by more than the budget:
        its whole 95% interval, over concepts, lies beyond it; and if there is no such interval, so that it could not
        have failed. Without --baseline the test is skipped, or with --save-baseline passes.

        Args:
            result: The evaluation.
            metric: Value of the trials: shift or log_odds (of yes without injection) for introspection.
            budget: In nats, or the metric's own unit.
            families: Question families; all by default.
            documents: Documents; all by default.
            warn: Whether to warn rather than fail.

        Raises:
            AssertionError: It did; the worst trials are listed.
            pytest.fail.Exception: The trials are not those of the baseline, or have no such metric.
        """
        __tracebackhide__ = True
        from introbench.regression.paired import changes, rows_table, worst_trials  # noqa: PLC0415 (costs seconds)

        before = self._before(result)
        if before is None:
            return
        known = {"families": before.plan["families"], "documents": before.plan["documents"]}
        for name, chosen in (("families", families), ("documents", documents)):
            if odd := sorted(set(chosen or ()) - set(known[name])):
                pytest.fail(
                    f"{name}={', '.join(odd)}: expected some of {', '.join(known[name])}; correct it", pytrace=False
                )
        found = [
            change
            for change in _or_fail(lambda: changes(before, result.record, metric))
            if change.name in (families or [change.name]) and change.document in (documents or [change.document])
        ]
        self._rows += [[result.record.model, *change.row(budget)] for change in found]
        self._require_known(metric, found)
        changed = [change for change in found if change.exceeds(budget)]
        if not changed:
            return
        said = (
            f"{metric} changed by more than {budget:g} in {len(changed)} of {len(found)} means "
            f"({before.model} -> {result.record.model})"
        )
        if warn:
            warnings.warn(said, ChangeWarning, stacklevel=2)
            return
        table = rows_table([change.row(budget) for change in changed])
        worst = "\n".join(worst_trials(before, result.record, changed))
        raise AssertionError(f"{said}\n\n{table}\n\nTrials that changed most:\n{worst}")

    @staticmethod
    def _require_known(metric: str, found: Sequence["Change"]) -> None:
        """Fail where a gate could not have failed: a mean is not known in both evaluations."""
        __tracebackhide__ = True
        unknown = [change for change in found if not change.is_known]
        if not unknown:
            return
        names = ", ".join(f"{change.name} under {change.document}" for change in unknown)
        missing = sum(change.missing for change in unknown)
        why = (
            f"{missing} of their trials have no finite number in both evaluations; lower the strength, or see the log"
            if missing
            else "expected two or more concepts, which do not share it; run more, or another metric"
        )
        pytest.fail(f"metric {metric!r}: no interval for {names}: {why}", pytrace=False)

    def check_verdict(self, result: "Evaluation") -> None:
        """Warn if the verdict is not that of the baseline.

        Args:
            result: The evaluation.

        Raises:
            pytest.fail.Exception: The trials are not those of the baseline.
        """
        __tracebackhide__ = True
        from introbench.regression.paired import HEADERS, require_same_trials  # noqa: PLC0415 (costs seconds)

        before, now = self._before(result), result.record
        if before is None:
            return
        _or_fail(lambda: require_same_trials(before, now))
        margins = before.plan.get("margin"), now.plan.get("margin")
        if margins[0] != margins[1]:
            pytest.fail(
                f"margin={margins[1]}: expected {margins[0]}, as in the baseline: verdicts rest on it; pass the same",
                pytrace=False,
            )
        same = before.verdict == now.verdict
        row = dict.fromkeys(HEADERS, "")
        row |= {"metric": "verdict", "baseline": before.verdict, "now": now.verdict}
        row["verdict"] = "the same" if same else "CHANGED"
        self._rows.append([now.model, *row.values()])
        if not same:
            warnings.warn(
                f"verdict changed: {before.verdict} ({before.model}) -> {now.verdict} ({now.model})",
                ChangeWarning,
                stacklevel=2,
            )

    def _before(self, result: "Evaluation") -> "Record | None":
        """The baseline's evaluation of the same task; None where a baseline is only to be written."""
        __tracebackhide__ = True
        from introbench.regression.paired import partner  # noqa: PLC0415 (costs seconds)

        record = _or_fail(lambda: result.record)
        self._session.compared(result)
        records = self._config.stash.get(_RECORDS, None)
        if records is None:
            if self._config.getoption("save_baseline"):
                return None
            pytest.skip(NO_BASELINE)
        before = partner(record, records)
        if before is None:
            pytest.fail(
                f"task {record.task}: not in the baseline; expected one of "
                f"{', '.join(sorted({each.task for each in records}))}; make the baseline anew",
                pytrace=False,
            )
        return before


@pytest.fixture(scope="session")
def introbench_model(request: pytest.FixtureRequest) -> str:
    """Inspect's name of the model under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def evaluate(introbench_model: str, pytestconfig: pytest.Config) -> Evaluate:
    """Runs evaluations of the model under test: `evaluate("introbench/introspection", limit=None, **arguments)`."""
    return Evaluate(_session(pytestconfig), introbench_model, _arguments(pytestconfig, "introbench_task_args"))


@pytest.fixture
def baseline(request: pytest.FixtureRequest, introbench_model: str) -> Baseline:
    """Holds evaluations against --baseline: `baseline.check(result, metric="shift", budget=0.5)`."""
    rows: list[list[str]] = []  # a test that is run again has rows of its own
    request.node.stash[_ROWS] = rows
    return Baseline(request.config, _session(request.config), rows)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Hand a test's rows to the process that prints the table, and to junit."""
    kept = item.stash.get(_ROWS, []) if call.when == "call" else []
    rows, kept[:] = list(kept), []  # handed over once: subtests have reports as well
    for _, metric, document, of, *numbers in rows:
        what = " | ".join(each for each in (metric, of, document) if each)
        item.user_properties.append((what, "; ".join(each for each in numbers if each)))
    report: Any = yield
    report.introbench_rows = rows
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the baseline that was asked for, once all tests have run, and if all have passed."""
    config = session.config
    path = config.getoption("save_baseline")
    if not path or _is_worker(config) or config.getoption("collectonly"):
        return
    if exitstatus != pytest.ExitCode.OK:
        config.stash[_SAVED] = f"baseline {path}: not written, since not all tests have passed"
        return
    from introbench.regression.session import save_baseline  # noqa: PLC0415 (costs seconds)

    try:
        several = save_baseline(_folder(config), path)
        config.stash[_SAVED] = f"baseline of {several} evaluation{'s'[: several > 1]} written to {path}"
    except InputError as error:
        config.stash[_KEEP] = True
        config.stash[_SAVED] = f"{error} ({_folder(config)})"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, and say what was written and what was skipped."""
    reports = [each for several in terminalreporter.stats.values() for each in several]
    by_model: dict[str, list[list[str]]] = {}
    for report in reports:
        for model, *row in getattr(report, "introbench_rows", []):
            by_model.setdefault(model, []).append(row)
    lines = [*_tables(config, by_model)]
    if _SAVED in config.stash:
        lines.append(config.stash[_SAVED])
    skipped = Counter(reason for report in reports if (reason := _own_reason(report)))
    lines += [f"{several} skipped: {reason}" for reason, several in skipped.items()]
    if lines:
        terminalreporter.section("introbench")
        for line in lines:
            terminalreporter.write_line(line)


def _own_reason(report: Any) -> str:
    """Why a test was skipped, if it was by this plugin: a check that was not made must not go unseen."""
    where = getattr(report, "longrepr", None)
    if not getattr(report, "skipped", False) or not isinstance(where, tuple):
        return ""
    reason = str(where[2]).removeprefix("Skipped: ")
    return reason if reason in (NO_MODEL, NO_BASELINE) or NOT_MADE.search(reason) else ""


def _tables(config: pytest.Config, by_model: Mapping[str, list[list[str]]]) -> Iterator[str]:
    """A table for each model; with -qq of what changed alone."""
    if not by_model:
        return
    from introbench.regression.paired import HEADERS, rows_table  # noqa: PLC0415 (costs seconds)

    records = config.stash[_RECORDS]
    against = ", ".join(dict.fromkeys(f"{each.model} of {each.made[:10]}" for each in records))
    for model, rows in by_model.items():
        shown = [row for row in rows if config.get_verbosity() >= -1 or "CHANGED" in row[HEADERS.index("verdict")]]
        if shown:
            yield from (f"{model} against {against}", rows_table(shown), "")


def _or_fail(compute: Callable[[], _T]) -> _T:
    """Fail a test with what an `InputError` says, without a traceback."""
    __tracebackhide__ = True
    try:
        return compute()
    except InputError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)  # outside the handler, so that there is no chain of errors


def _session(config: pytest.Config) -> "Session":
    if _SESSION not in config.stash:
        from introbench.regression.session import Session  # noqa: PLC0415 (costs seconds)

        config.stash[_SESSION] = Session(_folder(config), _arguments(config, "introbench_model_args"))
    return config.stash[_SESSION]


def _folder(config: pytest.Config) -> Path:
    """Where evaluations are shared: a worker is told, everybody else makes it."""
    if _SHARED not in config.stash:
        told = getattr(config, "workerinput", {}).get("introbench")
        kept = config.getoption("eval_logs")
        if told:
            config.stash[_SHARED] = Path(told)
        elif kept:
            kept.mkdir(parents=True, exist_ok=True)
            # Each session its own: logs of an earlier one are not those of this model.
            config.stash[_SHARED] = Path(tempfile.mkdtemp(dir=kept, prefix="session-"))
        else:
            config.stash[_SHARED] = Path(tempfile.mkdtemp(prefix="introbench-"))
    return config.stash[_SHARED]


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _read_baseline(path: Path) -> "list[Record]":
    from introbench.regression.baseline import read_records  # noqa: PLC0415 (costs seconds)

    try:
        return read_records(path)
    except InputError as error:
        raise pytest.UsageError(f"--baseline: {error}") from error


def _arguments(config: pytest.Config, option: str) -> dict[str, Any]:
    """`KEY=VALUE` as Inspect's command line reads it: YAML values, and lists separated by commas."""
    given = config.getoption(option) or []
    if not given:
        return {}
    import yaml  # noqa: PLC0415 (not needed without arguments)

    found: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals or not key:
            raise pytest.UsageError(f"{each!r} after -M or -T: expected KEY=VALUE, e.g. -M dtype=bfloat16; correct it")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise pytest.UsageError(f"{each!r} after -M or -T: {text!r} is no YAML; quote it, or correct it") from error
        found[key.replace("-", "_")] = value.split(",") if isinstance(value, str) and "," in value else value
    return found
