"""What the shipped checks share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.plugin import Evaluate
from introbench.regression.session import BATTERY, TASK

_FEW = {
    "concepts": ["cats", "bread"],
    "documents": "info",
    "families": ["introspection", "always_no"],
    "formats": "yes-no",
    "random_vectors": 1,
}
"""Enough for every self-check, in seconds."""


@dataclass(frozen=True)
class SelfChecked:
    """What a small run found out about itself.

    Attributes:
        arguments: Of its task.
        evaluation: The run; None if a self-check ended it.
        failed: The name of the self-check that did.
        reason: What it said.
    """

    arguments: Mapping[str, Any]
    evaluation: Evaluation | None
    failed: str = ""
    reason: str = ""

    def found(self, name: str) -> float | str:
        """What a self-check found; skips or fails the test where it found nothing, or what must not be."""
        __tracebackhide__ = True
        if self.evaluation is None:
            if name == self.failed:
                pytest.fail(self.reason, pytrace=False)
            pytest.skip(f"not told: self-check {self.failed!r} ended the run")
        samples = self.evaluation.log.samples or []
        value: float | str = (samples[0].output.metadata or {})["self_checks"][name]
        if isinstance(value, str) and value != "ok":
            pytest.skip(f"{name}: {value}")
        return value


@pytest.fixture(scope="session")
def battery(evaluate: Evaluate) -> Evaluation:
    """The evaluation that gates and science look at."""
    return evaluate(TASK, **_with_given(BATTERY, evaluate.given))


@pytest.fixture(scope="session")
def self_checked(evaluate: Evaluate) -> SelfChecked:
    """A small run with its self-checks."""
    arguments = _with_given(_FEW, evaluate.given) | ({} if "prompts" in evaluate.given else _FEW)
    try:
        return SelfChecked(arguments, evaluate(TASK, **arguments))
    except pytest.fail.Exception as error:
        named = re.search(r'self-check "([^"]+)"', str(error))
        if not named:
            raise
        return SelfChecked(arguments, None, named[1], str(error))


def _with_given(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with those that the user gave; published conversations bring documents and formats of their own."""
    return dict(given) if "prompts" in given else {**own, **given}
