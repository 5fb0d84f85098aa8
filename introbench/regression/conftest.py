"""The evaluations that the shipped checks share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.fixtures import Evaluate
from introbench.regression.options import BASELINE, SAVE_BASELINE
from introbench.regression.run_state import NO_BASELINE
from introbench.regression.session import BATTERY, TASK

_SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": "none",
    "families": ["introspection"],
    "formats": "yes-no",
    "random_vectors": 1,
}
_TRIALS = 8
"""Number of trials of the small run: enough for every self-check, within seconds."""
PROMPTS = "prompts"
"""Argument with published conversations, which determine documents, families and formats."""


_TIERS = {
    "invariants": "properties without which the numbers of a model mean nothing",
    "gates": "changes from a baseline file that fail a build",
    "science": "changes in what a run says; they warn (make them fail with -W error::introbench.errors.ChangeWarning)",
}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of the shipped checks, here rather than in the plugin, which other projects load."""
    for name, meaning in _TIERS.items():
        for marker in (name, f"introbench_{name}"):
            config.addinivalue_line("markers", f"{marker}: {meaning} (introbench)")


@dataclass(frozen=True)
class SelfChecked:
    """A small run, and the self-check that ended it, if one did.

    Attributes:
        arguments: Arguments of the task, and the number of trials as `limit`.
        evaluation: The run; None if a self-check ended it.
        failed: Name of that self-check.
        reason: Its error.
    """

    arguments: Mapping[str, Any]
    evaluation: Evaluation | None
    failed: str = ""
    reason: str = ""

    def completed(self) -> Evaluation:
        """The run. If a self-check ended it, the test is skipped, since the test of that self-check fails."""
        __tracebackhide__ = True
        if self.evaluation is None:
            pytest.skip(f"not run: self-check {self.failed!r} ended the run")
        return self.evaluation

    def result_of(self, name: str) -> float | str:
        """The result of a self-check. The test fails if the self-check did, and is skipped if it was not made."""
        __tracebackhide__ = True
        if name == self.failed:
            pytest.fail(self.reason, pytrace=False)
        outputs = [sample.output.metadata or {} for sample in self.completed().log.samples or []]
        value: float | str = next(output["self_checks"] for output in outputs if "self_checks" in output)[name]
        if isinstance(value, str) and value != "ok":
            pytest.skip(f"{name}: {value}")
        return value


@pytest.fixture(scope="session")
def battery(evaluate: Evaluate, pytestconfig: pytest.Config) -> Evaluation:
    """The evaluation that gates and science compare; skips the test if no baseline file is read or written."""
    if not (pytestconfig.getoption(BASELINE) or pytestconfig.getoption(SAVE_BASELINE)):
        pytest.skip(NO_BASELINE)
    return evaluate(TASK, **(dict(evaluate.given) if PROMPTS in evaluate.given else BATTERY | dict(evaluate.given)))


@pytest.fixture(scope="session")
def self_checked(evaluate: Evaluate) -> SelfChecked:
    """A small run with all its self-checks."""
    arguments = dict(evaluate.given) | ({} if PROMPTS in evaluate.given else _SMALL)
    concepts = evaluate.given.get("concepts", _SMALL["concepts"])
    arguments["concepts"] = [concepts] if isinstance(concepts, str) else list(concepts)[:2]
    arguments["limit"] = _TRIALS
    try:
        return SelfChecked(arguments, evaluate(TASK, **arguments))
    except pytest.fail.Exception as error:
        self_check = re.search(r'self-check "([^"]+)"', str(error))
        if not self_check:
            raise
        return SelfChecked(arguments, None, self_check[1], str(error))
