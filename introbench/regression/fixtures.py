"""The fixtures `introbench_model`, `evaluate` and `baseline` of the pytest plugin."""

import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from introbench.errors import ChangeWarning, InputError
from introbench.regression.budget import BUDGET

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

SHARED = pytest.StashKey[Path]()

_SESSION = pytest.StashKey["Session"]()

RECORDS = pytest.StashKey["list[Record]"]()

ROWS = pytest.StashKey[list[list[str]]]()

SAVED = pytest.StashKey[str]()

KEEP = pytest.StashKey[bool]()


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
        records = self._config.stash.get(RECORDS, None)
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
    return Evaluate(_session(pytestconfig), introbench_model, arguments(pytestconfig, "introbench_task_args"))


@pytest.fixture
def baseline(request: pytest.FixtureRequest, introbench_model: str) -> Baseline:
    """Holds evaluations against --baseline: `baseline.check(result, metric="shift", budget=0.5)`."""
    rows: list[list[str]] = []  # a test that is run again has rows of its own
    request.node.stash[ROWS] = rows
    return Baseline(request.config, _session(request.config), rows)


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

        config.stash[_SESSION] = Session(folder(config), arguments(config, "introbench_model_args"))
    return config.stash[_SESSION]


def folder(config: pytest.Config) -> Path:
    """Where evaluations are shared: a worker is told, everybody else makes it."""
    if SHARED not in config.stash:
        told = getattr(config, "workerinput", {}).get("introbench")
        kept = config.getoption("eval_logs")
        if told:
            config.stash[SHARED] = Path(told)
        elif kept:
            kept.mkdir(parents=True, exist_ok=True)
            # Each session its own: logs of an earlier one are not those of this model.
            config.stash[SHARED] = Path(tempfile.mkdtemp(dir=kept, prefix="session-"))
        else:
            config.stash[SHARED] = Path(tempfile.mkdtemp(prefix="introbench-"))
    return config.stash[SHARED]


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def read_baseline(path: Path) -> "list[Record]":
    """The evaluations of a baseline, or a usage error that says what is wrong with it."""
    from introbench.regression.baseline import read_records  # noqa: PLC0415 (costs seconds)

    try:
        return read_records(path)
    except InputError as error:
        raise pytest.UsageError(f"--baseline: {error}") from error


def arguments(config: pytest.Config, option: str) -> dict[str, Any]:
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
