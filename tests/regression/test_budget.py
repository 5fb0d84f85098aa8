"""A budget is a finite number of nats above 0."""

import argparse

import pytest

from introbench.regression.budget import parse_budget


@pytest.mark.parametrize(("text", "budget"), [("0.1", 0.1), ("1e-3", 0.001)])
def test_a_budget_is_read(text: str, budget: float) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["0", "0.0", "-0.1", "nan", "inf", "", "a little"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected a number of nats above 0.*such as 0\.1$"):
        parse_budget(text)
