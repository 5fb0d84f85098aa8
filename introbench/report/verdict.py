"""A verdict in words: the steps of its ladder as rows of a table, and what would settle it."""

import math

from introbench.analysis.verdict import Need, Step, StepName, Verdict
from introbench.stats.intervals import Interval
from introbench.stats.power import POWER

WORDS = {
    StepName.LIVE: (
        "Do the vectors bring their concepts to mind under active steering?",
        "{live:g} of {tested:g} are live",
    ),
    StepName.EXCESS: (
        "Does introspection move more than control questions with its baseline do?",
        "excess {excess}, margin {margin:g}",
    ),
    StepName.LINE: (
        "Does the line through the control questions hold there?",
        "{within_reach:.0%} of its baselines are near theirs, "
        "excess over a pull of probabilities {over_pull:+.3f} nats",
    ),
    StepName.RANDOM: ("Do random vectors do the same?", "excess {random}"),
    StepName.BEYOND_RANDOM: ("Do concepts' vectors do more than random ones?", "difference {beyond_random}"),
    StepName.BEYOND_SALIENCE: (
        "Does introspection move more than questions on what stands out in the text?",
        "difference {beyond_salience}, excess of those {salience}",
    ),
    StepName.BIAS: ("Is every answer pushed toward yes, or no?", "{bias}"),
    StepName.FLATTENING: (
        "Is every answer pulled toward even odds, or away?",
        "{flattening} of the log-odds, which are {baseline:.2f} nats",
    ),
    StepName.DOCUMENT: ("Does the document do it, with nothing injected?", "{document}"),
}
"""For each step its question, and how the numbers are shown that its answer rests on."""

UNCLEAR = {
    "": "",
    "excess": "the excess",
    "beyond_random": "beyond random vectors",
    "beyond_salience": "beyond what stands out in the text",
}
"""What is not yet shown, by the name of the interval that leaves it unclear."""


def ladder(verdict: Verdict) -> list[tuple[str, str, str]]:
    """The steps as rows of a table: question, answer, numbers."""
    return [(WORDS[step.name][0], step.answer, numbers_text(step)) for step in verdict.steps]


def numbers_text(step: Step) -> str:
    """The numbers that a step's answer rests on."""
    unit = "" if step.name is StepName.FLATTENING else " nats"
    intervals = {name: interval_text(interval, unit) for name, interval in step.intervals.items()}
    return WORDS[step.name][1].format(**intervals, **step.numbers)


def settlement_text(verdict: Verdict) -> str:
    """What would settle an inconclusive verdict; empty for others."""
    settlement = verdict.settlement
    if settlement is None:
        return ""
    effect = f"{settlement.margin:g} nats {UNCLEAR[settlement.unclear]}"
    match settlement.need:
        case Need.CONTROL_QUESTIONS:
            return (
                "the line through the control questions does not hold where introspection questions stand: control "
                "questions are needed whose log-odds without injection are like theirs"
            )
        case Need.QUESTIONS:
            return (
                f"no number of concepts would show {effect} in {POWER:.0%} of runs, because the questions differ too "
                "much: ask more of them"
            )
        case Need.INTERVAL:
            return (
                "there is no interval: run at least two concepts (better nine), with random vectors and control "
                "questions"
            )
        case Need.MARGIN:
            return (
                f"{settlement.concepts} concepts can show {effect}; what was found is about as large as that: state "
                "another margin, or run more concepts"
            )
        case Need.CONCEPTS:
            return (
                f"about {settlement.concepts_needed} concepts instead of {settlement.concepts} would show an effect of "
                f"{effect} in {POWER:.0%} of runs, if concepts differ as much as these do"
            )


def interval_text(interval: Interval, unit: str) -> str:
    """An estimate with its interval and unit, as far as they are known."""
    if math.isnan(interval.estimate):
        return "not measured"
    if math.isnan(interval.low):
        return f"{interval.estimate:+.3f}{unit}, no interval"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{unit}"
