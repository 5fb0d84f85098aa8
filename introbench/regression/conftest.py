"""What the shipped checks share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.fixtures import NO_BASELINE, Evaluate
from introbench.regression.session import BATTERY, TASK

_FEW: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": "none",
    "families": ["introspection"],
    "formats": "yes-no",
    "random_vectors": 1,
}
_TRIALS = 8
"""Enough for every self-check, in seconds."""
PROMPTS = "prompts"
"""Published conversations, which bring documents, families and formats of their own."""


@dataclass(frozen=True)
class SelfChecked:
    """What a small run found out about itself.

    Attributes:
        arguments: Of its task, and how many of its trials were run.
        evaluation: The run; None if a self-check ended it.
        failed: The name of the self-check that did.
        reason: What it said.
    """

    arguments: Mapping[str, Any]
    evaluation: Evaluation | None
    failed: str = ""
    reason: str = ""

    def completed(self) -> Evaluation:
        """The run; skips the test if a self-check ended it, which is the test of that name that fails."""
        __tracebackhide__ = True
        if self.evaluation is None:
            pytest.skip(f"not told: self-check {self.failed!r} ended the run")
        return self.evaluation

    def found(self, name: str) -> float | str:
        """What a self-check found; skips or fails the test where it found nothing, or what must not be."""
        __tracebackhide__ = True
        if name == self.failed:
            pytest.fail(self.reason, pytrace=False)
        samples = self.completed().log.samples or []
        value: float | str = (samples[0].output.metadata or {})["self_checks"][name]
        if isinstance(value, str) and value != "ok":
            pytest.skip(f"{name}: {value}")
        return value


@pytest.fixture(scope="session")
def battery(evaluate: Evaluate, pytestconfig: pytest.Config) -> Evaluation:
    """The evaluation that gates and science look at; it is not run if there is nothing to do with it."""
    if not (pytestconfig.getoption("baseline") or pytestconfig.getoption("save_baseline")):
        pytest.skip(NO_BASELINE)
    return evaluate(TASK, **(dict(evaluate.given) if PROMPTS in evaluate.given else BATTERY | dict(evaluate.given)))


@pytest.fixture(scope="session")
def self_checked(evaluate: Evaluate) -> SelfChecked:
    """A small run with its self-checks."""
    arguments = dict(evaluate.given) | ({} if PROMPTS in evaluate.given else _FEW)
    own = evaluate.given.get("concepts", _FEW["concepts"])
    arguments["concepts"] = [own] if isinstance(own, str) else list(own)[:2]
    arguments["limit"] = _TRIALS
    try:
        return SelfChecked(arguments, evaluate(TASK, **arguments))
    except pytest.fail.Exception as error:
        named = re.search(r'self-check "([^"]+)"', str(error))
        if not named:
            raise
        return SelfChecked(arguments, None, named[1], str(error))
