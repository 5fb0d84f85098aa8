"""Changes in what a run says about a model: they warn, and do not fail a build."""

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.fixtures import Baseline
from introbench.regression.options import BUDGET_OPTION

pytestmark = [pytest.mark.science, pytest.mark.introbench_science]


def test_verdict_is_that_of_the_baseline(battery: Evaluation, baseline: Baseline) -> None:
    """The verdict is that of the baseline file."""
    baseline.check_verdict(battery)


def test_answers_without_injection_are_those_of_the_baseline(
    battery: Evaluation, baseline: Baseline, pytestconfig: pytest.Config
) -> None:
    """No question family's mean log-odds with nothing injected has changed by more than the budget."""
    baseline.check(battery, metric="log_odds", budget=pytestconfig.getoption(BUDGET_OPTION), warn=True)
