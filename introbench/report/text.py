"""Numbers, intervals and result tables as plain text."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.noticed import Result
from introbench.stats.intervals import Interval
from introbench.stats.simultaneous import simultaneous_level


def results_table(results: Sequence[Result]) -> str:
    """Plain-text table of results, in nats, and a line on what its marks mean."""
    with_questions = any(result.questions for result in results)
    rows = [
        [
            result.document,
            result.name,
            number_text(result.interval.estimate),
            interval_text(result.interval),
            "*" if result.is_marked else "",
            result.interval.units,
            *([result.questions or ""] if with_questions else []),
            result.pairs,
            result.missing or "",
        ]
        for result in results
    ]
    headers = ["document", "shift in log-odds (nats)", "mean", "95% interval", "*", "units"]
    headers += [*(["questions"] if with_questions else []), "pairs", "missing"]
    align = ("left",) * 2 + ("right",) * (len(headers) - 2)
    table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)
    return f"{table}\n{marks_text([result.interval for result in results], 'rows')}"


def marks_text(intervals: Sequence[Interval], of: str) -> str:
    """The line below a table that says what its marks mean.

    Args:
        intervals: The intervals of the table, by themselves.
        of: What has intervals: rows, or numbers.
    """
    count = sum(math.isfinite(interval.low) for interval in intervals)
    if count == 0:
        return f"None of the {of} has an interval."
    level = simultaneous_level(intervals)
    return (
        f"*: differs from 0 also where all {count} {of} that have an interval are to hold together (Bonferroni,\n"
        f"intervals widened to {level:.2%}). Without a mark, an interval beyond 0 may be what chance gives."
    )


def number_text(value: float) -> str:
    """A number of a table."""
    return "no pairs" if math.isnan(value) else f"{value:+.3f}"


def share_text(share: float, form: str = ".0%") -> str:
    """A share of a table, as a percentage."""
    return "not measured" if math.isnan(share) else f"{share:{form}}"


def interval_text(interval: Interval) -> str:
    """The ends of an interval in a table, or why there are none."""
    if math.isnan(interval.low):
        if math.isnan(interval.estimate):
            return ""
        return "needs 2 or more units" if interval.units == 1 else "needs more questions or units"
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def estimate_and_interval(interval: Interval) -> tuple[str, str]:
    """A number of a table, and the ends of its interval."""
    return number_text(interval.estimate), interval_text(interval)
