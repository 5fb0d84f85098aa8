"""The model and the checks that tests of the pytest plugin run."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_runs import SMALL

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session", autouse=True)
def imported_once() -> None:
    """Import the provider: a run inside a test forgets what it imports first, and classes exist twice then."""
    importlib.import_module("introbench.provider.inject_api")


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these variables are set, pytest prints whole messages in its summary, and each line of them twice."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tiny_folder: Path) -> str:
    return f"inject/{tiny_folder}"


@pytest.fixture
def shipped(pytester: pytest.Pytester) -> Run:
    """Runs the shipped checks."""
    return lambda *arguments: pytester.runpytest_inprocess("--pyargs", "introbench.regression", *SMALL, *arguments)
