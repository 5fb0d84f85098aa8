"""Largest change that is put up with, as command lines take it."""

import argparse
import math

BUDGET = 0.1
"""What the shipped gates put up with, in nats: an even answer moves by 2.5 points."""


def parse_budget(text: str) -> float:
    """A budget in nats, from a command line.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 <= budget < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of nats, 0 or more, such as 0.1")
    return budget
