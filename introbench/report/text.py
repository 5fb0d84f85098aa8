"""Numbers, intervals and result tables as plain text."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.noticed import Result
from introbench.stats.intervals import Interval


def results_table(results: Sequence[Result]) -> str:
    """Plain-text table of results, in nats."""
    rows = [
        [
            result.document,
            result.name,
            number_text(result.interval.estimate),
            interval_text(result.interval),
            result.interval.units,
            result.pairs,
            result.missing or "",
        ]
        for result in results
    ]
    headers = ["document", "shift in log-odds (nats)", "mean", "95% interval", "units", "pairs", "missing"]
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=("left",) * 2 + ("right",) * 5)


def number_text(value: float) -> str:
    """A number of a table."""
    return "no pairs" if math.isnan(value) else f"{value:+.3f}"


def interval_text(interval: Interval) -> str:
    """The ends of an interval in a table, or why there are none."""
    if math.isnan(interval.low):
        return "needs 2 or more units" if interval.units == 1 else ""
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def estimate_and_interval(interval: Interval) -> tuple[str, str]:
    """A number of a table, and the ends of its interval."""
    return number_text(interval.estimate), interval_text(interval)
