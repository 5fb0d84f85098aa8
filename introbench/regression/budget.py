"""The budget: the largest change to tolerate."""

import argparse
import math

BUDGET = 0.1
"""Budget of the shipped gates, in nats: it moves an answer of even odds by 2.5 percentage points."""


def parse_budget(text: str) -> float:
    """A budget in nats from its text on a command line.

    Raises:
        argparse.ArgumentTypeError: The text is not a finite number of 0 or more.
    """
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 <= budget < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of nats, 0 or more, such as 0.1")
    return budget
