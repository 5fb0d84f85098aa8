"""The pytest plugin: options, the fixtures `evaluate` and `baseline`, and the table at the end.

pytest imports this file at every start in every environment in which introbench is installed. Therefore it imports
nothing but pytest; modules that take time to load are imported where an option or a fixture needs them.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from introbench.errors import InputError, printable, printable_lines
from introbench.regression.fixtures import baseline, evaluate, introbench_model  # noqa: F401 (pytest finds them here)
from introbench.regression.options import (
    BASELINE,
    EVAL_LOGS,
    MODEL,
    MODEL_ARGS,
    SAVE_BASELINE,
    TASK_ARGS,
    add_options,
)
from introbench.regression.run_state import (
    BASELINE_RECORDS,
    KEEP_LOGS,
    LOG_FOLDER,
    NO_BASELINE,
    NO_MODEL,
    SAVED_MESSAGE,
    TABLE_ROWS,
    is_worker,
    key_values,
    log_folder,
    read_baseline,
)

_NOT_MADE = re.compile(r"^(not run|[\w ]+: not checked): ")
"""Beginning of the reasons with which the shipped checks skip a self-check that was not made."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options."""
    config: pytest.Config | None = pluginmanager.get_plugin("pytestconfig")
    add_options(parser, [str(argument) for argument in config.invocation_params.args] if config else [])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unusable options before anything is run."""
    models = config.getoption(MODEL) or []
    for model in models:
        if not model.startswith("inject/"):
            raise pytest.UsageError(
                f"--introbench-model {model}: cannot be injected into; expected inject/NAME; add inject/"
            )
    path = config.getoption(SAVE_BASELINE)
    if path and len(models) != 1:
        raise pytest.UsageError(
            f"--introbench-save-baseline with {len(models)} models: expected one, whose numbers the file holds; pass "
            f"one --introbench-model"
        )
    if path:
        _require_writable(path)
    for option in (MODEL_ARGS, TASK_ARGS):
        key_values(config, option)
    if config.getoption(BASELINE):
        config.stash[BASELINE_RECORDS] = read_baseline(config.getoption(BASELINE))


def _require_writable(path: Path) -> None:
    """Refuse a baseline file that cannot be written, before its evaluations take hours."""
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(path if path.exists() else nearest, os.W_OK):
        raise pytest.UsageError(
            f"--introbench-save-baseline {path}: cannot be written; expected a file that can be; correct it"
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the logs, unless they are to be kept."""
    kept = config.getoption(EVAL_LOGS) or config.stash.get(KEEP_LOGS, False)
    if LOG_FOLDER in config.stash and not is_worker(config) and not kept:
        shutil.rmtree(config.stash[LOG_FOLDER], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist in which folder evaluations are shared."""
    node.workerinput["introbench"] = str(log_folder(node.config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses a model once for each model on the command line."""
    if "introbench_model" in metafunc.fixturenames:
        has_xdist = metafunc.config.pluginmanager.hasplugin("xdist")
        models = [
            # With --dist loadgroup, pytest-xdist runs all tests of a model in one process, which loads it once.
            pytest.param(model, marks=[pytest.mark.xdist_group(f"introbench {model}")] if has_xdist else [])
            for model in metafunc.config.getoption(MODEL) or []
        ]
        none = pytest.param(None, marks=pytest.mark.skip(reason=NO_MODEL))
        metafunc.parametrize("introbench_model", models or [none], indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Attach a test's rows to its report, for the process that prints the table and for JUnit files."""
    added = item.stash.get(TABLE_ROWS, []) if call.when == "call" else []
    rows, added[:] = list(added), []  # attached once, since subtests have reports as well
    for _, metric, document, of, *numbers in rows:
        name = " | ".join(part for part in (metric, of, document) if part)
        item.user_properties.append((name, "; ".join(number for number in numbers if number)))
    report: Any = yield
    report.introbench_rows = rows
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the file after --introbench-save-baseline once all tests have been run, if all have passed."""
    config = session.config
    path = config.getoption(SAVE_BASELINE)
    if not path or is_worker(config) or config.getoption("collectonly"):
        return
    if exitstatus != pytest.ExitCode.OK:
        config.stash[SAVED_MESSAGE] = f"baseline {path}: not written, since not all tests have passed"
        return
    from introbench.regression.session import save_baseline  # noqa: PLC0415 (costs seconds)

    try:
        count = save_baseline(log_folder(config), path)
        config.stash[SAVED_MESSAGE] = f"baseline of {count} evaluation{'s'[: count > 1]} written to {path}"
    except InputError as error:
        config.stash[KEEP_LOGS] = True
        config.stash[SAVED_MESSAGE] = f"{error} ({log_folder(config)})"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, the file that was written, and the reasons of skipped tests."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    by_model: dict[str, list[list[str]]] = {}
    for report in reports:
        for model, *row in getattr(report, "introbench_rows", []):
            by_model.setdefault(model, []).append(row)
    lines = [*_tables(config, by_model)]
    if SAVED_MESSAGE in config.stash:
        lines.append(config.stash[SAVED_MESSAGE])
    skipped = Counter(reason for report in reports if (reason := _skip_reason(report)))
    lines += [f"{count} skipped: {reason}" for reason, count in skipped.items()]
    if lines:
        terminalreporter.section("introbench")
        for line in lines:  # names of models and documents may come from a file
            terminalreporter.write_line(printable_lines(line))


def _skip_reason(report: Any) -> str:
    """Why this plugin or its checks skipped a test, which users have to know; empty for other reports."""
    where = getattr(report, "longrepr", None)
    if not getattr(report, "skipped", False) or not isinstance(where, tuple):
        return ""
    reason = str(where[2]).removeprefix("Skipped: ")
    return reason if reason in (NO_MODEL, NO_BASELINE) or _NOT_MADE.search(reason) else ""


def _tables(config: pytest.Config, by_model: Mapping[str, list[list[str]]]) -> Iterator[str]:
    """The lines of a table for every model; with -qq the table shows changes beyond the budget alone."""
    if not by_model:
        return
    from introbench.regression.paired import HEADERS, rows_table  # noqa: PLC0415 (costs seconds)

    records = config.stash[BASELINE_RECORDS]
    against = ", ".join(dict.fromkeys(f"{record.model} of {record.made[:10]}" for record in records))
    for model, rows in by_model.items():
        shown = [row for row in rows if config.get_verbosity() >= -1 or "CHANGED" in row[HEADERS.index("verdict")]]
        if shown:
            yield from (printable(f"{model} against {against}"), rows_table(shown), "")
