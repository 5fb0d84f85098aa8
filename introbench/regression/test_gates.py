"""Changes from a baseline file that fail a build."""

import pytest

from introbench.regression.evaluation import Evaluation
from introbench.regression.fixtures import Baseline
from introbench.regression.options import BUDGET_OPTION

pytestmark = [pytest.mark.gates, pytest.mark.introbench_gates]


def test_shifts_are_those_of_the_baseline(battery: Evaluation, baseline: Baseline, pytestconfig: pytest.Config) -> None:
    """No question family's mean shift under concepts has changed by more than the budget."""
    baseline.check(battery, metric="shift", budget=pytestconfig.getoption(BUDGET_OPTION))
