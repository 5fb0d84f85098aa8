"""Tables of the location task: accuracy and nats of every score."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.location import LocationResult, location_results, location_trial, planned_parts
from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import TrialFactors
from introbench.report.text import interval_text, marks_text, number_text
from introbench.stats.intervals import Interval


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    results = location_results([location_trial(trial) for trial in trials], planned_parts(plan))

    def table(shown: Sequence[LocationResult], *, contrasts: bool, headline: bool = False) -> str:
        rows = [
            [
                result.part,
                result.name,
                *_percentages(result.accuracy, "+" if contrasts else ""),
                *([] if contrasts else [f"{result.chance:.1%}"]),
                number_text(result.nats.estimate),
                interval_text(result.nats),
                *(["*" if result.is_marked else ""] if headline else []),
                result.nats.units,
                result.trials,
                result.missing or "",
            ]
            for result in shown
        ]
        accuracy = ["accuracy", "95% interval", *([] if contrasts else ["chance"])]
        nats = ["nats", "95% interval", *(["*"] if headline else [])]
        headers = ["part", "score", *accuracy, *nats, "units", "trials", "missing"]
        align = ("left", "left", *("right",) * (len(headers) - 2))
        return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)

    headlines = [result for result in results if result.is_headline]
    return [
        "Where was the thought placed? The score that counts: by how much more introspective questions gain over\n"
        "other questions under concepts' vectors than under random ones, in accuracy and in nats",
        table(headlines, contrasts=True, headline=True),
        marks_text([interval for result in headlines for interval in (result.accuracy, result.nats)], "numbers"),
        "The differences that it is made of; neither counts by itself",
        table([r for r in results if r.is_contrast and not r.is_headline], contrasts=True),
        "The scores that they are made of",
        table([r for r in results if not r.is_contrast], contrasts=False),
        "accuracy: how often the place whose label gains most over the sham is the right one; ties are shared, so\n"
        "that whoever ignores thoughts, or prefers a label, is at chance exactly. nats: gain of the right place less\n"
        "the mean gain of the others, 0 by chance. introspective: questions about thoughts; other: questions about\n"
        "something else with the same options, after the same thoughts. concept, random: the vector. introspective -\n"
        "other is for concepts, concept - random for introspective questions. Units are concepts. Intervals: 95%\n"
        "each, studentised bootstrap over concepts. They do not allow for passages and wordings: what a wording does\n"
        "under any vector cancels in the score that counts, and in no other row.",
    ]


def _percentages(interval: Interval, sign: str) -> tuple[str, str]:
    """A share, or with "+" as sign a difference of shares, and the ends of its interval."""
    estimate, low, high = (format(number, f"{sign}.1%") for number in (interval.estimate, interval.low, interval.high))
    if math.isnan(interval.low):
        return "" if math.isnan(interval.estimate) else estimate, interval_text(interval)
    return estimate, f"[{low}, {high}]"
