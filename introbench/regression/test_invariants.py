"""Properties without which the numbers of a model mean nothing."""

import pytest

from introbench.checks.self_checks import CHECKS
from introbench.regression.conftest import SelfChecked
from introbench.regression.fixtures import Evaluate
from introbench.regression.session import TASK

pytestmark = [pytest.mark.invariants, pytest.mark.introbench_invariants]


@pytest.mark.parametrize("name", CHECKS)
def test_self_check(name: str, self_checked: SelfChecked) -> None:
    """The self-check of this name was made and passed; see `introbench.checks.self_checks`."""
    self_checked.result_of(name)


def test_the_same_numbers_twice(self_checked: SelfChecked, evaluate: Evaluate) -> None:
    """Computed again, every number is the same to the last digit that a baseline file keeps."""
    first = self_checked.completed()
    again = evaluate.again(TASK, **self_checked.arguments)
    assert again.record.trials == first.record.trials


def test_every_trial_has_numbers(self_checked: SelfChecked) -> None:
    """The numbers of every trial are finite."""
    assert self_checked.completed().values["not finite"] == 0
