"""The fixtures `introbench_model`, `evaluate` and `baseline` of the pytest plugin."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from introbench.errors import ChangeWarning, InputError
from introbench.regression.budget import BUDGET, WHAT_TO_GIVE, is_budget
from introbench.regression.options import MODEL_ARGS, SAVE_BASELINE, TASK_ARGS
from introbench.regression.run_state import BASELINE_RECORDS, NO_BASELINE, TABLE_ROWS, key_values, log_folder

if TYPE_CHECKING:
    from introbench.regression.baseline import Record
    from introbench.regression.evaluation import Evaluation
    from introbench.regression.paired import Change
    from introbench.regression.session import Session

_T = TypeVar("_T")

_SESSION = pytest.StashKey["Session"]()


class Evaluate:
    """Runs evaluations of one model. An evaluation that was asked for before in the same session is not run again.

    Args:
        session: The evaluations of the pytest session.
        model: The model's name in Inspect.
        given: Arguments of the introspection task in the shipped checks, from the command line.
    """

    def __init__(self, session: "Session", model: str, given: Mapping[str, Any]) -> None:
        self._session = session
        self._model = model
        self.given = given

    def __call__(self, task: str, limit: int | None = None, **arguments: Any) -> "Evaluation":
        """The evaluation of a task; the test fails if it is not finished.

        Args:
            task: Such as `introbench/introspection`.
            limit: Number of trials to run, the first ones; all if it is None.
            **arguments: Arguments of the task.
        """
        return self._evaluate(task, limit, arguments)

    def again(self, task: str, limit: int | None = None, **arguments: Any) -> "Evaluation":
        """A second evaluation of the same, which is computed again."""
        return self._evaluate(task, limit, arguments, repeat=1)

    def _evaluate(self, task: str, limit: int | None, arguments: Mapping[str, Any], repeat: int = 0) -> "Evaluation":
        __tracebackhide__ = True
        from introbench.regression.session import EvaluationFailedError  # noqa: PLC0415 (costs seconds)

        try:
            return self._session.evaluate(self._model, task, limit, arguments, repeat)
        except EvaluationFailedError as error:
            reason = str(error)
        pytest.fail(reason, pytrace=False)  # outside the handler, so that pytest shows no chain of errors


class Baseline:
    """Compares evaluations with a baseline file.

    Args:
        config: pytest's configuration.
        session: The evaluations of the pytest session.
        rows: The test's rows of the table at the end, to which comparisons are added.
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
        """Compare an evaluation with the baseline file, trial by trial.

        The test fails if the mean of a question family under a document is shown to have changed by more than the
        budget on these wordings, in that all of the 95% interval (over concepts, for the wordings that were asked) of
        the change lies beyond the budget. It also fails if there is no such interval, since it could not detect a
        change then. Without --introbench-baseline the test is
        skipped; with --introbench-save-baseline it passes.

        Args:
            result: The evaluation.
            metric: Name of the trials' value; for introspection, shift or log_odds (of yes with nothing injected).
            budget: Largest change to tolerate, in nats or in the unit of the metric; above 0.
            families: Question families; all by default.
            documents: Documents; all by default.
            warn: Whether to warn of changes rather than fail.

        Raises:
            AssertionError: A mean has changed by more than the budget; the trials that changed most are listed.
            pytest.fail.Exception: The trials are not those of the baseline file, or have no such metric; or the budget
                is not above 0.
        """
        __tracebackhide__ = True
        if not is_budget(budget):
            pytest.fail(f"budget={budget:g}: {WHAT_TO_GIVE}", pytrace=False)
        from introbench.regression.paired import changes, rows_table, worst_trials  # noqa: PLC0415 (costs seconds)

        before = self._before(result)
        if before is None:
            return
        known = {"families": before.plan["families"], "documents": before.plan["documents"]}
        for name, chosen in (("families", families), ("documents", documents)):
            if unknown := sorted(set(chosen or ()) - set(known[name])):
                pytest.fail(
                    f"{name}={', '.join(unknown)}: expected some of {', '.join(known[name])}; correct it", pytrace=False
                )
        compared = [
            change
            for change in _or_fail(lambda: changes(before, result.record, metric))
            if change.name in (families or [change.name]) and change.document in (documents or [change.document])
        ]
        self._rows += [[result.record.model, *change.row(budget)] for change in compared]
        self._require_known(metric, compared)
        changed = [change for change in compared if change.exceeds(budget)]
        if not changed:
            return
        message = (
            f"{metric} changed by more than {budget:g} on these wordings in {len(changed)} of {len(compared)} means "
            f"({before.model} -> {result.record.model})"
        )
        if warn:
            warnings.warn(message, ChangeWarning, stacklevel=2)
            return
        table = rows_table([change.row(budget) for change in changed])
        worst = "\n".join(worst_trials(before, result.record, changed))
        raise AssertionError(f"{message}\n\n{table}\n\nTrials that changed most:\n{worst}")

    @staticmethod
    def _require_known(metric: str, compared: Sequence["Change"]) -> None:
        """Fail if a mean has no interval, since no change of it could be detected."""
        __tracebackhide__ = True
        unknown = [change for change in compared if not change.is_known]
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
        """Warn if the verdict is not that of the baseline file.

        Args:
            result: The evaluation.

        Raises:
            pytest.fail.Exception: The trials or the margin are not those of the baseline file.
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
        """The baseline file's evaluation to compare with; None if a baseline file is written and none is read."""
        __tracebackhide__ = True
        from introbench.regression.paired import partner  # noqa: PLC0415 (costs seconds)

        record = _or_fail(lambda: result.record)
        self._session.compared(result)
        records = self._config.stash.get(BASELINE_RECORDS, None)
        if records is None:
            if self._config.getoption(SAVE_BASELINE):
                return None
            pytest.skip(NO_BASELINE)
        before = partner(record, records)
        if before is None:
            pytest.fail(
                f"task {record.task}: not in the baseline; expected one of "
                f"{', '.join(sorted({known.task for known in records}))}; make the baseline anew",
                pytrace=False,
            )
        return before


@pytest.fixture(scope="session")
def introbench_model(request: pytest.FixtureRequest) -> str:
    """The name in Inspect of the model under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def evaluate(introbench_model: str, pytestconfig: pytest.Config) -> Evaluate:
    """Runs evaluations of the model under test: `evaluate("introbench/introspection", limit=None, **arguments)`."""
    return Evaluate(_session(pytestconfig), introbench_model, key_values(pytestconfig, TASK_ARGS))


@pytest.fixture
def baseline(request: pytest.FixtureRequest, introbench_model: str) -> Baseline:
    """Compares evaluations with a baseline file: `baseline.check(result, metric="shift", budget=0.5)`."""
    rows: list[list[str]] = []  # new rows for every run of a test, since a test may be run again
    request.node.stash[TABLE_ROWS] = rows
    return Baseline(request.config, _session(request.config), rows)


def _or_fail(compute: Callable[[], _T]) -> _T:
    """The value that a function computes; an `InputError` fails the test without a traceback."""
    __tracebackhide__ = True
    try:
        return compute()
    except InputError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)  # outside the handler, so that pytest shows no chain of errors


def _session(config: pytest.Config) -> "Session":
    """The evaluations of the pytest session."""
    if _SESSION not in config.stash:
        from introbench.regression.session import Session  # noqa: PLC0415 (costs seconds)

        config.stash[_SESSION] = Session(log_folder(config), key_values(config, MODEL_ARGS))
    return config.stash[_SESSION]
