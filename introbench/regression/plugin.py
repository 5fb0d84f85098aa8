"""The pytest plugin: options, markers, the fixtures `evaluate` and `baseline`, and the table at the end.

pytest imports this file at every start in every environment that has introbench, so it imports nothing but pytest:
whatever costs time is imported when an option or a fixture asks for it.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from introbench.errors import InputError
from introbench.regression.budget import BUDGET, parse_budget
from introbench.regression.fixtures import (  # noqa: F401 (pytest finds the fixtures here)
    KEEP,
    NO_BASELINE,
    NO_MODEL,
    NOT_MADE,
    RECORDS,
    ROWS,
    SAVED,
    SHARED,
    arguments,
    baseline,
    evaluate,
    folder,
    introbench_model,
    is_worker,
    read_baseline,
)

_MARKERS = {
    "invariants": "what must hold on any model, or its numbers mean nothing",
    "gates": "changes against a baseline that fail a build",
    "science": "changes of what a run says; they warn (make them fail with -W error::introbench.errors.ChangeWarning)",
}


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
        arguments(config, option)
    if config.getoption("baseline"):
        config.stash[RECORDS] = read_baseline(config.getoption("baseline"))


def _refuse_what_cannot_be_written(path: Path) -> None:
    """Refuse a file before hours are spent on what is to stand in it."""
    nearest = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(path if path.exists() else nearest, os.W_OK):
        raise pytest.UsageError(f"--save-baseline {path}: cannot be written; expected a file that can be; correct it")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the logs that nobody asked to keep."""
    kept = config.getoption("eval_logs") or config.stash.get(KEEP, False)
    if SHARED in config.stash and not is_worker(config) and not kept:
        shutil.rmtree(config.stash[SHARED], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let a worker of pytest-xdist know where evaluations are shared."""
    node.workerinput["introbench"] = str(folder(node.config))


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Hand a test's rows to the process that prints the table, and to junit."""
    kept = item.stash.get(ROWS, []) if call.when == "call" else []
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
    if not path or is_worker(config) or config.getoption("collectonly"):
        return
    if exitstatus != pytest.ExitCode.OK:
        config.stash[SAVED] = f"baseline {path}: not written, since not all tests have passed"
        return
    from introbench.regression.session import save_baseline  # noqa: PLC0415 (costs seconds)

    try:
        several = save_baseline(folder(config), path)
        config.stash[SAVED] = f"baseline of {several} evaluation{'s'[: several > 1]} written to {path}"
    except InputError as error:
        config.stash[KEEP] = True
        config.stash[SAVED] = f"{error} ({folder(config)})"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, and say what was written and what was skipped."""
    reports = [each for several in terminalreporter.stats.values() for each in several]
    by_model: dict[str, list[list[str]]] = {}
    for report in reports:
        for model, *row in getattr(report, "introbench_rows", []):
            by_model.setdefault(model, []).append(row)
    lines = [*_tables(config, by_model)]
    if SAVED in config.stash:
        lines.append(config.stash[SAVED])
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

    records = config.stash[RECORDS]
    against = ", ".join(dict.fromkeys(f"{each.model} of {each.made[:10]}" for each in records))
    for model, rows in by_model.items():
        shown = [row for row in rows if config.get_verbosity() >= -1 or "CHANGED" in row[HEADERS.index("verdict")]]
        if shown:
            yield from (f"{model} against {against}", rows_table(shown), "")
