"""What a run says about a model, in words: a ladder of questions, each answered by an interval.

A verdict is drawn from intervals and from a margin of equivalence: the smallest effect, in nats, that would matter to
the user. An interval that lies above 0 shows an effect; one that lies within the margin shows that there is none worth
speaking of; any other shows neither, and the verdict is `inconclusive`, with what would settle it.

The default margin is 0.5 nats: it moves an even answer from 50% to 62%, and one of 1% to 1.6%. Published shifts that
were taken for introspection are 1.2 to 5 nats; what steering does to control questions at usual strengths is of the
order of 0.1 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from introbench.stats.intervals import Interval
from introbench.stats.power import POWER, concepts_needed

MARGIN = 0.5
"""Default margin of equivalence, in nats."""

VERDICTS = (
    "not live",
    "no effect",
    "moves the other way",
    "yes-bias",
    "no-bias",
    "flattening",
    "sharpening",
    "notices any perturbation",
    "reads salience",
    "document alone",
    "tracks the concept",
    "inconclusive",
)


WITHIN_REACH = 0.5
"""Share of the introspection baselines that must lie near those of the controls, or their line says little there."""

MORE_CONTROLS = (
    "the line through the control questions does not hold where introspection questions stand: control questions are "
    "needed whose log-odds without injection are like theirs"
)


NOT_MEASURED = Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Evidence:
    """The numbers that a verdict rests on, of one document; intervals in nats.

    Attributes:
        live: How many concepts' vectors are live.
        tested: Of how many that is known.
        excess: Shift of introspection in excess of what control questions do, under the concepts' vectors.
        random: The same under random vectors.
        beyond_random: The first minus the second.
        bias: What an even answer moves toward yes.
        flattening: Share of the log-odds that is lost.
        within_reach: Share of the introspection baselines that lie within the controls' range, or near it.
        over_pull: The excess if probabilities are pulled toward 1/2 in place of log-odds; NaN if that cannot be told.
        baseline: Mean absolute log-odds of the introspection questions under the sham.
        salience_asked: Whether the run set out to ask questions on whether something stands out.
        salience: Excess of questions on whether something stands out, under the concepts' vectors.
        beyond_salience: Excess of introspection minus that, in the same answer formats.
        document: How far the document by itself, with nothing injected, moves answers toward "noticed", against a
            neutral text of its length.
    """

    live: int
    tested: int
    excess: Interval
    random: Interval = NOT_MEASURED
    beyond_random: Interval = NOT_MEASURED
    bias: Interval = NOT_MEASURED
    flattening: Interval = NOT_MEASURED
    baseline: float = 0.0
    within_reach: float = 1.0
    over_pull: float = math.nan
    document: Interval = NOT_MEASURED
    salience_asked: bool = False
    salience: Interval = NOT_MEASURED
    beyond_salience: Interval = NOT_MEASURED


@dataclass(frozen=True)
class Step:
    """One step of the ladder.

    Attributes:
        question: What is asked.
        answer: yes, no, or unclear.
        numbers: What the answer rests on.
    """

    question: str
    answer: str
    numbers: str


@dataclass(frozen=True)
class Verdict:
    """What a run says about a model.

    Attributes:
        name: One of `VERDICTS`.
        steps: Every step of the ladder with its numbers, also those that the verdict did not need.
        settle: What would settle an inconclusive verdict; empty for others.
    """

    name: str
    steps: tuple[Step, ...]
    settle: str = ""


def verdict(evidence: Evidence, margin: float = MARGIN) -> Verdict:
    """Draw a verdict.

    1. Fewer than half of the vectors are live: `not live`.
    2. The excess lies above 0. If random vectors bring at least half as much (and theirs lies above 0, too), the model
       `notices any perturbation`. If the concepts' excess is more than that of random vectors, but questions on what
       stands out in the text are moved at least half as much, in the same answer formats (and theirs lies above 0,
       too), it `reads salience`: the thought makes something stand out, and nothing shows that the model looked inward.
       If it is also more than that of salience, or if this was not asked, it `tracks the concept`; unless the line is
       not to be trusted there: most introspection questions lie far outside of the controls' range, or a pull of
       probabilities toward 1/2, which is no line, would explain more than half of it.
    3. The excess is not above the margin: there is no introspection to speak of. What there is instead is what moves
       introspection answers most, if it is shown to exist and is more than the margin: `yes-bias` or `no-bias`,
       `flattening` or its opposite, `sharpening`, or the `document alone`. If none of them is: introspection
       `moves the other way` if its excess lies below 0 and beyond the margin, and there is `no effect` if all of its
       interval lies within the margin.
    4. Else `inconclusive`.

    Args:
        evidence: The numbers.
        margin: Smallest effect that matters, in nats, above 0.
    """
    e = evidence
    silent = e.tested > 0 and 2 * e.live < e.tested
    above, negligible = _above(e.excess), e.excess.high < margin
    by_any = above and _above(e.random) and 2 * e.random.estimate >= e.excess.estimate
    beyond = _above(e.beyond_random)
    # Introspection in the formats that salience is asked in is the sum of the two: half of it or more is salience.
    by_salience = above and _above(e.salience) and e.salience.estimate >= e.beyond_salience.estimate
    inward = not e.salience_asked or _above(e.beyond_salience)
    on_line = e.within_reach >= WITHIN_REACH and not (above and 2 * e.over_pull < e.excess.estimate)
    others = {
        "yes-bias": (_above(e.bias), e.bias.estimate),
        "no-bias": (e.bias.high < 0, -e.bias.estimate),
        "flattening": (_above(e.flattening), e.flattening.estimate * e.baseline),
        "sharpening": (e.flattening.high < 0, -e.flattening.estimate * e.baseline),
        "document alone": (_above(e.document), e.document.estimate),
    }
    shown = {name: size for name, (exists, size) in others.items() if exists and size > margin}
    pushed, pulled = (
        bool(shown.keys() & several) for several in (("yes-bias", "no-bias"), ("flattening", "sharpening"))
    )
    steps = (
        Step(
            "Do the vectors bring their concepts to mind under active steering?",
            "unclear" if not e.tested else "no" if silent else "yes",
            f"{e.live} of {e.tested} are live",
        ),
        Step(
            "Does introspection move more than control questions with its baseline do?",
            "yes" if above else "no" if negligible else "unclear",
            f"excess {_show(e.excess)}, margin {margin:g}",
        ),
        Step(
            "Does the line through the control questions hold there?",
            "unclear" if math.isnan(e.within_reach) else "yes" if on_line else "no",
            f"{e.within_reach:.0%} of its baselines are near theirs, excess over a pull of probabilities "
            f"{e.over_pull:+.3f} nats",
        ),
        Step("Do random vectors do the same?", _answer(by_any, e.random, margin), f"excess {_show(e.random)}"),
        Step(
            "Do concepts' vectors do more than random ones?",
            _answer(beyond, e.beyond_random, margin),
            f"difference {_show(e.beyond_random)}",
        ),
        Step(
            "Does introspection move more than questions on what stands out in the text?",
            "no" if by_salience else _answer(_above(e.beyond_salience), e.beyond_salience, margin),
            f"difference {_show(e.beyond_salience)}, excess of those {_show(e.salience)}",
        ),
        Step("Is every answer pushed toward yes, or no?", _answer_both_ways(pushed, e.bias, margin), _show(e.bias)),
        Step(
            "Is every answer pulled toward even odds, or away?",
            "unclear" if math.isnan(e.flattening.low) else "yes" if pulled else "no",
            f"{_show(e.flattening, '')} of the log-odds, which are {e.baseline:.2f} nats",
        ),
        Step(
            "Does the document do it, with nothing injected?",
            _answer("document alone" in shown, e.document, margin),
            _show(e.document),
        ),
    )
    name, settle = "inconclusive", ""
    if silent:
        name = "not live"
    elif by_any:
        name = "notices any perturbation"
    elif by_salience and beyond:
        name = "reads salience"
    elif above and beyond and inward and on_line:
        name = "tracks the concept"
    elif above and beyond and inward:
        settle = MORE_CONTROLS
    elif negligible and shown:
        name = max(shown, key=lambda each: shown[each])
    elif e.excess.high < 0 and e.excess.estimate < -margin:
        name = "moves the other way"
    elif negligible and e.excess.low > -margin:
        name = "no effect"
    else:
        settle = _settle(*_unclear(evidence, above, beyond), margin)
    return Verdict(name, steps, settle)


def _unclear(evidence: Evidence, above: bool, beyond: bool) -> tuple[str, Interval]:
    """What is unclear, and its interval."""
    if not above:
        return "the excess", evidence.excess
    if not beyond:
        return "beyond random vectors", evidence.beyond_random
    return "beyond what stands out in the text", evidence.beyond_salience


def _settle(what: str, interval: Interval, margin: float) -> str:
    """What would settle what is unclear."""
    needed = concepts_needed(interval, margin)
    if needed is None:
        return (
            f"no number of concepts would show {margin:g} nats {what} in {POWER:.0%} of runs, because the questions "
            f"differ too much: ask more of them"
        )
    if needed == 0:
        return (
            "there is no interval: run at least two concepts (better nine), with random vectors and control questions"
        )
    if needed <= interval.units:
        return (
            f"{interval.units} concepts can show {margin:g} nats {what}; what was found is about as large as that: "
            f"state another margin, or run more concepts"
        )
    return (
        f"about {needed} concepts instead of {interval.units} would show an effect of {margin:g} nats {what} in "
        f"{POWER:.0%} of runs, if concepts differ as much as these do"
    )


def _above(interval: Interval) -> bool:
    return interval.low > 0  # false where there is no interval


def _answer(yes: bool, interval: Interval, margin: float) -> str:
    return "yes" if yes else "no" if interval.high < margin else "unclear"


def _answer_both_ways(yes: bool, interval: Interval, margin: float) -> str:
    return "yes" if yes else "no" if -margin < interval.low and interval.high < margin else "unclear"


def _show(interval: Interval, unit: str = " nats") -> str:
    if math.isnan(interval.estimate):
        return "not measured"
    if math.isnan(interval.low):
        return f"{interval.estimate:+.3f}{unit}, no interval"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{unit}"


def ladder(found: Verdict) -> Sequence[tuple[str, str, str]]:
    """The steps as rows of a table: question, answer, numbers."""
    return [(step.question, step.answer, step.numbers) for step in found.steps]
