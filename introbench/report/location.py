"""Tables of the location task: accuracy and nats of every score."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.location import location_results, location_trial, planned_parts
from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import TrialFactors
from introbench.report.text import interval_text, number_text
from introbench.stats.intervals import Interval


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    results = location_results([location_trial(trial) for trial in trials], planned_parts(plan))

    def table(counts: bool) -> str:
        rows = [
            [
                result.part,
                result.name,
                *_percentages(result.accuracy, "+" if counts else ""),
                *([] if counts else [f"{result.chance:.1%}"]),
                number_text(result.nats.estimate),
                interval_text(result.nats),
                result.nats.units,
                result.trials,
                result.missing or "",
            ]
            for result in results
            if result.counts == counts
        ]
        accuracy = ["accuracy", "95% interval", *([] if counts else ["chance"])]
        headers = ["part", "score", *accuracy, "nats", "95% interval", "units", "trials", "missing"]
        align = ("left", "left", *("right",) * (len(headers) - 2))
        return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)

    return [
        "Where was the thought placed? The scores that count: differences in accuracy and in nats",
        table(counts=True),
        "What they are made of",
        table(counts=False),
        "accuracy: how often the place whose label gains most over the sham is the right one; ties are shared, so\n"
        "that whoever ignores thoughts, or prefers a label, is at chance exactly. nats: gain of the right place less\n"
        "the mean gain of the others, 0 by chance. introspective: questions about thoughts; other: questions about\n"
        "something else with the same options, after the same thoughts. concept, random: the vector. The first\n"
        "contrast is for concepts, the second for introspective questions, the third is their difference in\n"
        "differences. Units are concepts. Intervals: 95% each, studentised bootstrap over concepts, conditional on\n"
        "passages and wordings; not corrected for how many there are.",
    ]


def _percentages(interval: Interval, sign: str) -> tuple[str, str]:
    """A share, or with "+" as sign a difference of shares, and the ends of its interval."""
    estimate, low, high = (format(number, f"{sign}.1%") for number in (interval.estimate, interval.low, interval.high))
    if math.isnan(interval.low):
        return "" if math.isnan(interval.estimate) else estimate, interval_text(interval)
    return estimate, f"[{low}, {high}]"
