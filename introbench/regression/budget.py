"""The budget: the largest change to tolerate."""

import argparse
import math

BUDGET = 0.1
"""Budget of the shipped gates, in nats: it moves an answer of even odds by 2.5 percentage points."""


WHAT_TO_GIVE = (
    "expected a number of nats above 0, as the smallest differences of rounding would exceed 0; "
    f"give the largest change to tolerate, such as {BUDGET:g}"
)
"""End of the line that refuses a budget."""


def is_budget(number: float) -> bool:
    """Whether a number can be a budget."""
    return 0 < number < math.inf


def parse_budget(text: str) -> float:
    """A budget in nats from its text on a command line.

    Raises:
        argparse.ArgumentTypeError: The text is not a finite number above 0.
    """
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not is_budget(budget):
        raise argparse.ArgumentTypeError(f"{text!r}: {WHAT_TO_GIVE}")
    return budget
