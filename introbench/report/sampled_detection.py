"""The table of the sampled detection task: hits beside false alarms, and names beside guesses."""

import math
from collections.abc import Callable, Sequence

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sampled_detection import (
    ALWAYS,
    ANY_VECTOR,
    DETECTS,
    NAMES_ONLY,
    NOTHING,
    CellResult,
    ProtocolResult,
    results,
)
from introbench.records.sampled_factors import ONWARDS, PRIOR
from introbench.report.report import Report, counted, plain_table
from introbench.report.text import share_text
from introbench.stats.intervals import Interval

WHEN = {PRIOR: "while the prior turn is read", ONWARDS: "from there on, while the model answers too"}
"""When a vector is on, by protocol."""

VERDICT = {
    DETECTS: "it detects injections: more claims under the concept's vector than without one and under random vectors",
    ANY_VECTOR: "it claims more under a vector than without one, but as much under random vectors of the same norm",
    ALWAYS: "it claims to detect a thought whether one is injected or not: its hits mean nothing",
    NAMES_ONLY: "it names the concept, and claims nothing: the vector steers what it talks about",
    NOTHING: "no more claims under the concept's vector than without one",
}
"""What each verdict says."""

LEGEND = (
    "A claim counts where a reader can follow the answer. Hits and false alarms: answers that claim to detect a\n"
    "thought under the concept's vector, and with nothing injected; beside them under random vectors of that norm.\n"
    "d': how far hits and false alarms lie apart, in standard deviations (log-linear correction). Guessing: how often\n"
    "claims name any other of the concepts, on average. Intervals are of 95%, clustered by concept."
)

ROWS: dict[str, Callable[[CellResult], str]] = {
    "layer and strength": lambda cell: cell.name,
    "hits": lambda cell: percent(cell.hits),
    "false alarms (sham)": lambda cell: percent(cell.false_alarms),
    "claims under random vectors": lambda cell: percent(cell.random),
    "hits - false alarms (points)": lambda cell: points(cell.above_sham),
    "hits - random vectors (points)": lambda cell: points(cell.above_random),
    "d'": lambda cell: number(cell.d_prime),
    "balanced accuracy": lambda cell: percent(cell.balanced_accuracy),
    "claims, then names the concept": lambda cell: percent(cell.named_claims),
    "of claims, name the concept": lambda cell: percent(cell.identified),
    "of claims, by guessing": lambda cell: share_text(cell.by_guessing, ".1%"),
    "of claims under random vectors": lambda cell: share_text(cell.identified_random),
    "most named in claims": lambda cell: f"{cell.popular} {share_text(cell.popular_share)}" if cell.popular else "none",
    "names without a claim - sham": lambda cell: points(cell.unclaimed),
    "declines (sham)": lambda cell: f"{share_text(cell.refused.estimate)} ({share_text(cell.refused_sham.estimate)})",
    "incoherent (sham)": lambda cell: (
        f"{share_text(cell.incoherent.estimate)} ({share_text(cell.incoherent_sham.estimate)})"
    ),
    "answers, without a grade": lambda cell: f"{cell.texts}, {cell.missing}",
}
"""What is said of a cell, line by line."""


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    found = results(trials)
    if not found:
        return Report(["Nothing was graded: the model wrote nothing."])
    conclusion = [line for result in found for line in _conclusion(result)]
    grader = next(exact["grader"] for _, exact in trials if exact)
    reasons: dict[str, int] = {}
    for _, exact in trials:
        for reason, count in exact.get("without_grade", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
    conclusion.append(f"Graded by {'rules' if grader == 'rules' else grader}.{_without_grade(reasons)}")
    conclusion.append(
        "What would change it: other layers or strengths (-T layer_fractions, -T strengths), or more answers "
        "(-T samples)."
    )
    further = ["Every layer and strength, on all concepts", *map(_every_cell, found), LEGEND]
    return Report(conclusion, [_table([result.best for result in found])], further)


def _conclusion(result: ProtocolResult) -> list[str]:
    best, forced = result.best, result.forced
    where = f"{best.name} ({best.cell.fraction:.0%} of the depth)"
    chosen = (
        "the only one"
        if len(result.cells) == 1
        else "chosen on the other half of the concepts"
        if result.held_out
        else "chosen on these same concepts, so that it looks better than it is"
    )
    begins = f"Injected {WHEN[result.protocol]}, at {where}, {chosen}: "
    rests = f"It rests on {counted(best.concepts, 'concept')} and {counted(best.texts, 'answer')}."
    if forced:
        named = f"{percent(best.identified)} name the concept, and {share_text(best.by_guessing, '.1%')} any other one"
        return [f"{begins}of answers that begin with a claim, {named}. {rests}"]
    return [
        f"{begins}{VERDICT[result.verdict]}.",
        f"Hits {percent(best.hits)}, false alarms {percent(best.false_alarms)}, under random vectors "
        f"{percent(best.random)}; hits minus false alarms {points(best.above_sham)}. {rests}",
    ]


def _without_grade(reasons: dict[str, int]) -> str:
    listed = ", ".join(f"{count} ({reason})" for reason, count in reasons.items())
    return f" Without a grade: {listed}." if reasons else ""


def _table(cells: Sequence[CellResult]) -> str:
    """A column for each protocol."""
    return plain_table(
        ["", *(cell.protocol for cell in cells)], [[name, *map(say, cells)] for name, say in ROWS.items()]
    )


def _every_cell(result: ProtocolResult) -> str:
    """A row for each layer and strength."""
    shown = {name: say for name, say in ROWS.items() if name != "layer and strength"}
    rows = [[cell.name, *(say(cell) for say in shown.values())] for cell in result.cells]
    return plain_table([result.protocol, *shown], rows)


def percent(interval: Interval) -> str:
    """A rate with its interval."""
    if math.isnan(interval.estimate):
        return "not measured"
    ends = "" if math.isnan(interval.low) else f" [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
    return f"{interval.estimate:.0%}{ends}"


def points(interval: Interval) -> str:
    """A difference of rates with its interval, in percentage points."""
    if math.isnan(interval.estimate):
        return "not measured"
    ends = "" if math.isnan(interval.low) else f" [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"
    return f"{100 * interval.estimate:+.0f}{ends}"


def number(interval: Interval) -> str:
    """A number with its interval."""
    if math.isnan(interval.estimate):
        return "not measured"
    ends = "" if math.isnan(interval.low) else f" [{interval.low:+.1f}, {interval.high:+.1f}]"
    return f"{interval.estimate:+.2f}{ends}"
