"""Changes of what a run says about a model: worth a look, no failure."""

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.fixtures import Baseline

pytestmark = pytest.mark.science


def test_verdict_is_that_of_the_baseline(battery: Evaluation, baseline: Baseline) -> None:
    """The run says the same about the model."""
    baseline.check_verdict(battery)


def test_answers_without_injection_are_those_of_the_baseline(
    battery: Evaluation, baseline: Baseline, pytestconfig: pytest.Config
) -> None:
    """Nor have the answers changed that the model gives with nothing injected."""
    baseline.check(battery, metric="log_odds", budget=pytestconfig.getoption("budget"), warn=True)
