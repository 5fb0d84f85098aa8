"""Tables of the location task: accuracy and nats of every score."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.location import LocationResult, location_results, location_trial, planned_parts
from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import TrialFactors
from introbench.report.report import Report, counted, listed, plain_table
from introbench.report.text import interval_text, marks_text, number_text
from introbench.stats.intervals import Interval

LEGEND = (
    "accuracy: how often the place whose label gains most over the sham is the right one; ties are shared, so\n"
    "that whoever ignores thoughts, or prefers a label, is at chance exactly. nats: gain of the right place less\n"
    "the mean gain of the others, 0 by chance. introspective: questions about thoughts; other: questions about\n"
    "something else with the same options, after the same thoughts. concept, random: the vector. introspective -\n"
    "other is for concepts, concept - random for introspective questions. Units are concepts. Intervals: 95%\n"
    "each, studentised bootstrap over concepts. They do not allow for passages and wordings: what a wording does\n"
    "under any vector cancels in the score that counts, and in no other row."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    results = location_results([location_trial(trial) for trial in trials], planned_parts(plan))
    headlines = [result for result in results if result.is_headline]
    return Report(
        conclusion=_conclusion(results, headlines),
        tables=[_shares(results, headlines)],
        further=[
            "Where was the thought placed? The score that counts: by how much more introspective questions gain over\n"
            "other questions under concepts' vectors than under random ones, in accuracy and in nats",
            _table(headlines, contrasts=True, headline=True),
            marks_text([interval for result in headlines for interval in (result.accuracy, result.nats)], "numbers"),
            "The differences that it is made of; neither counts by itself",
            _table([r for r in results if r.is_contrast and not r.is_headline], contrasts=True),
            "The scores that they are made of",
            _table([r for r in results if not r.is_contrast], contrasts=False),
            LEGEND,
        ],
    )


def _conclusion(results: Sequence[LocationResult], headlines: Sequence[LocationResult]) -> list[str]:
    """In which parts the place is told, the shares of right places against chance, and what that rests on."""
    found = [result.part for result in headlines if result.is_marked and result.accuracy.estimate > 0]
    found += [r.part for r in headlines if r.is_marked and r.part not in found and r.nats.estimate > 0]
    told = {r.part: r for r in results if r.name == "introspective, concept"}
    shares = [
        f"{part} {result.accuracy.estimate:.0%} (chance {result.chance:.0%})"
        for part, result in told.items()
        if not math.isnan(result.accuracy.estimate)
    ]
    if not shares:
        return ["No conclusion: no part was answered with finite numbers. Lower the strength."]
    gains = [f"{r.part} {_gain(r.accuracy)}" for r in headlines if not math.isnan(r.accuracy.estimate)]
    units = max(result.accuracy.units for result in headlines)
    return [
        f"Where a thought was is told beyond random vectors and other questions in: {listed(found)}."
        if found
        else "It is not shown that the model tells where a thought was: in no part does the gain beyond random vectors "
        "and other questions differ from 0.",
        f"Right places, introspective questions under concepts' vectors: {listed(shares)}.",
        f"Gain beyond random vectors and other questions, in points: {listed(gains)} (95% intervals; together they are "
        "wider, and marked by * in the table).",
        f"It rests on {counted(units, 'concept')} and {counted(sum(r.trials for r in told.values()), 'trial')} of "
        "introspective questions.",
        "What would change it: more concepts, which narrow the intervals; other passages and wordings, for which they "
        "do not allow.",
    ]


def _gain(interval: Interval) -> str:
    ends = "" if math.isnan(interval.low) else f" [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"
    return f"{100 * interval.estimate:+.0f}{ends}"


def _shares(results: Sequence[LocationResult], headlines: Sequence[LocationResult]) -> str:
    """The share of right places of each part, beside chance, other questions and random vectors; and what counts."""
    accuracy = {(r.part, r.name): _percentages(r.accuracy, "")[0] for r in results}
    rows = [
        [
            result.part,
            f"{next(r.chance for r in results if r.part == result.part and not r.is_contrast):.1%}",
            *(
                accuracy[result.part, name]
                for name in ("introspective, concept", "other, concept", "introspective, random")
            ),
            *_percentages(result.accuracy, "+"),
            "*" if result.is_marked else "",
        ]
        for result in headlines
    ]
    headers = ["right places", "chance", "concept", "other", "random"]
    return plain_table([*headers, "gain beyond both", "95% interval", "*"], rows)


def _table(shown: Sequence[LocationResult], *, contrasts: bool, headline: bool = False) -> str:
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


def _percentages(interval: Interval, sign: str) -> tuple[str, str]:
    """A share, or with "+" as sign a difference of shares, and the ends of its interval."""
    estimate, low, high = (format(number, f"{sign}.1%") for number in (interval.estimate, interval.low, interval.high))
    if math.isnan(interval.low):
        return "" if math.isnan(interval.estimate) else estimate, interval_text(interval)
    return estimate, f"[{low}, {high}]"
