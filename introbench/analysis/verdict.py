"""The verdict on a model: a ladder of questions, each answered by an interval, and what follows from the answers.

A verdict is drawn from intervals and from a margin of equivalence, the smallest effect, in nats, that would matter to
the user. An interval that lies above 0 shows an effect. One that lies within the margin shows that there is none worth
speaking of. Any other shows neither, and the verdict is `inconclusive`, with what would settle it.

The default margin is 0.5 nats: it moves an even answer from 50% to 62%, and one of 1% to 1.6%. Published shifts that
were taken for introspection are 1.2 to 5 nats; what steering does to control questions at usual strengths is of the
order of 0.1 to 1.

Here verdicts are decided; `introbench.report.verdict` puts them into words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from introbench.stats.intervals import NOT_MEASURED, Interval
from introbench.stats.power import concepts_needed

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
"""Smallest share of the introspection baselines that must lie near those of the control questions for their line to
say anything about introspection."""


@dataclass(frozen=True)
class Evidence:
    """The numbers that a verdict rests on, of one document; intervals in nats.

    Attributes:
        live: How many concepts' vectors are live.
        tested: For how many of them that is known.
        excess: Excess of introspection over the control line under the concepts' vectors.
        random: The same under random vectors.
        beyond_random: The first minus the second.
        bias: How far an answer with even odds moves toward yes.
        flattening: Share of the log-odds that is lost.
        baseline: Mean absolute log-odds of the introspection questions under the sham.
        within_reach: Share of the introspection baselines that lie within the range of the control baselines, or near.
        over_pull: The excess if probabilities are pulled toward 1/2 in place of log-odds; NaN if that is not known.
        document: How far the document by itself, with nothing injected, moves answers toward "noticed", compared with a
            neutral text of its length.
        salience_asked: Whether the run set out to ask questions on whether something stands out.
        salience: Excess of questions on whether something stands out, under the concepts' vectors.
        beyond_salience: Excess of introspection minus that, in the same answer formats.
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


class StepName(StrEnum):
    """What a step of the ladder asks."""

    LIVE = "live"  # do the vectors bring their concepts to mind under active steering?
    EXCESS = "excess"  # does introspection move more than control questions with its baseline?
    LINE = "line"  # does the control line hold where introspection questions stand?
    RANDOM = "random"  # do random vectors do the same?
    BEYOND_RANDOM = "beyond random"  # do concepts' vectors do more than random vectors?
    BEYOND_SALIENCE = "beyond salience"  # does introspection move more than questions on what stands out in the text?
    BIAS = "bias"  # is every answer pushed toward yes, or toward no?
    FLATTENING = "flattening"  # is every answer pulled toward even odds, or away from them?
    DOCUMENT = "document"  # does the document move answers with nothing injected?


StepAnswer = Literal["yes", "no", "unclear"]


@dataclass(frozen=True)
class Step:
    """One step of the ladder.

    Attributes:
        name: What is asked.
        answer: What the evidence says to that.
        intervals: The intervals that the answer rests on, by their names in `Evidence`.
        numbers: The other numbers that it rests on, by their names in `Evidence`; `margin` for the margin.
    """

    name: StepName
    answer: StepAnswer
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


class Need(StrEnum):
    """What an inconclusive run lacks."""

    CONTROL_QUESTIONS = "control questions"  # with baselines like those of introspection
    QUESTIONS = "questions"  # no number of concepts would do, since the questions differ too much
    INTERVAL = "interval"  # too little was run to have one
    MARGIN = "margin"  # another one, or more concepts: the effect is about as large as the margin
    CONCEPTS = "concepts"


@dataclass(frozen=True)
class Settlement:
    """What would settle an inconclusive verdict.

    Attributes:
        need: What the run lacks.
        unclear: Which interval leaves it unclear, by its name in `Evidence`; empty for `Need.CONTROL_QUESTIONS`.
        margin: The effect to be shown, in nats.
        concepts: How many concepts that interval rests on.
        concepts_needed: How many would show an effect as large as the margin; None if that is not known.
    """

    need: Need
    unclear: str
    margin: float
    concepts: int = 0
    concepts_needed: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What a run says about a model.

    Attributes:
        name: One of `VERDICTS`.
        steps: Every step of the ladder, also those that the verdict did not need.
        settlement: What would settle an inconclusive verdict; None for others.
    """

    name: str
    steps: tuple[Step, ...]
    settlement: Settlement | None = None


@dataclass(frozen=True)
class _Conditions:
    """What the evidence shows.

    Attributes:
        silent: Fewer than half of the vectors are live.
        above: The excess lies above 0.
        negligible: The excess lies below the margin.
        random_as_well: So does that of random vectors, and it is at least half as large.
        beyond_random: The excess is more than that of random vectors.
        salience_as_well: The excess of questions on what stands out lies above 0, and it is at least half of the excess
            of introspection in the same answer formats.
        inward: The excess is more than that of salience, or salience was not asked.
        on_line: The control line can be trusted where introspection questions stand.
        others: What else moves introspection answers by more than the margin: how far, in nats, by name of verdict.
    """

    silent: bool
    above: bool
    negligible: bool
    random_as_well: bool
    beyond_random: bool
    salience_as_well: bool
    inward: bool
    on_line: bool
    others: Mapping[str, float]


def verdict(evidence: Evidence, margin: float = MARGIN) -> Verdict:
    """Draw a verdict.

    1. Fewer than half of the vectors are live: `not live`.
    2. The excess lies above 0. If random vectors bring at least half as much (and theirs lies above 0, too), the model
       `notices any perturbation`. If the concepts' excess is more than that of random vectors, but questions on what
       stands out in the text are moved at least half as much, in the same answer formats (and theirs lies above 0,
       too), it `reads salience`: the thought makes something stand out, and nothing shows that the model looked inward.
       If it is also more than that of salience, or if this was not asked, it `tracks the concept`; unless the line is
       not to be trusted there: most introspection questions lie far outside of the control questions' range, or a pull
       of probabilities toward 1/2, which is no line, would explain more than half of it.
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
    conditions = _conditions(evidence, margin)
    name = _name(conditions, evidence.excess, margin)
    settlement = _settlement(conditions, evidence, margin) if name == "inconclusive" else None
    return Verdict(name, _steps(conditions, evidence, margin), settlement)


def _conditions(evidence: Evidence, margin: float) -> _Conditions:
    """Compare the evidence with 0 and with the margin."""
    excess, salience = evidence.excess, evidence.salience
    bias, flattening, document = evidence.bias, evidence.flattening, evidence.document
    above = _above(excess)
    others = {
        "yes-bias": (_above(bias), bias.estimate),
        "no-bias": (bias.high < 0, -bias.estimate),
        "flattening": (_above(flattening), flattening.estimate * evidence.baseline),
        "sharpening": (flattening.high < 0, -flattening.estimate * evidence.baseline),
        "document alone": (_above(document), document.estimate),
    }
    return _Conditions(
        silent=evidence.tested > 0 and 2 * evidence.live < evidence.tested,
        above=above,
        negligible=excess.high < margin,
        random_as_well=above and _above(evidence.random) and 2 * evidence.random.estimate >= excess.estimate,
        beyond_random=_above(evidence.beyond_random),
        # Introspection in the formats that salience is asked in is the sum of the two: half of it or more is salience.
        salience_as_well=above and _above(salience) and salience.estimate >= evidence.beyond_salience.estimate,
        inward=not evidence.salience_asked or _above(evidence.beyond_salience),
        on_line=evidence.within_reach >= WITHIN_REACH and not (above and 2 * evidence.over_pull < excess.estimate),
        others={name: size for name, (exists, size) in others.items() if exists and size > margin},
    )


def _name(conditions: _Conditions, excess: Interval, margin: float) -> str:
    """The verdict that the conditions call for: that of the first rung of the ladder that holds."""
    others = conditions.others
    ladder = (
        (conditions.silent, "not live"),
        (conditions.random_as_well, "notices any perturbation"),
        (conditions.salience_as_well and conditions.beyond_random, "reads salience"),
        (_is_inward(conditions), "tracks the concept" if conditions.on_line else "inconclusive"),
        (conditions.negligible and bool(others), max(others, key=lambda name: others[name], default="")),
        (excess.high < 0 and excess.estimate < -margin, "moves the other way"),
        (conditions.negligible and excess.low > -margin, "no effect"),
        (True, "inconclusive"),
    )
    return next(name for holds, name in ladder if holds)


def _is_inward(conditions: _Conditions) -> bool:
    """Whether the excess, if the control line holds, says that the model tracks the concept."""
    return conditions.above and conditions.beyond_random and conditions.inward


def _steps(conditions: _Conditions, evidence: Evidence, margin: float) -> tuple[Step, ...]:
    """Every step of the ladder."""

    def step(name: StepName, answer: StepAnswer, *names: str, **numbers: float) -> Step:
        return Step(name, answer, {name: getattr(evidence, name) for name in names}, numbers)

    pushed, pulled = (
        not conditions.others.keys().isdisjoint(names)
        for names in (("yes-bias", "no-bias"), ("flattening", "sharpening"))
    )
    live: StepAnswer = "unclear" if not evidence.tested else "no" if conditions.silent else "yes"
    line: StepAnswer = "unclear" if math.isnan(evidence.within_reach) else "yes" if conditions.on_line else "no"
    salience: StepAnswer = (
        "no"
        if conditions.salience_as_well
        else _answer(_above(evidence.beyond_salience), evidence.beyond_salience, margin)
    )
    within_margin = -margin < evidence.bias.low and evidence.bias.high < margin
    biased: StepAnswer = "yes" if pushed else "no" if within_margin else "unclear"
    flattened: StepAnswer = "unclear" if math.isnan(evidence.flattening.low) else "yes" if pulled else "no"
    by_document = _answer("document alone" in conditions.others, evidence.document, margin)
    return (
        step(StepName.LIVE, live, live=evidence.live, tested=evidence.tested),
        step(StepName.EXCESS, _answer(conditions.above, evidence.excess, margin), "excess", margin=margin),
        step(StepName.LINE, line, within_reach=evidence.within_reach, over_pull=evidence.over_pull),
        step(StepName.RANDOM, _answer(conditions.random_as_well, evidence.random, margin), "random"),
        step(
            StepName.BEYOND_RANDOM, _answer(conditions.beyond_random, evidence.beyond_random, margin), "beyond_random"
        ),
        step(StepName.BEYOND_SALIENCE, salience, "beyond_salience", "salience"),
        step(StepName.BIAS, biased, "bias"),
        step(StepName.FLATTENING, flattened, "flattening", baseline=evidence.baseline),
        step(StepName.DOCUMENT, by_document, "document"),
    )


def _settlement(conditions: _Conditions, evidence: Evidence, margin: float) -> Settlement:
    """What would settle an inconclusive verdict."""
    if _is_inward(conditions):
        return Settlement(Need.CONTROL_QUESTIONS, "", margin)
    unclear = (
        "excess" if not conditions.above else "beyond_random" if not conditions.beyond_random else "beyond_salience"
    )
    interval: Interval = getattr(evidence, unclear)
    needed = concepts_needed(interval, margin)
    if needed is None:
        need = Need.QUESTIONS
    elif needed == 0:
        need = Need.INTERVAL
    else:
        need = Need.MARGIN if needed <= interval.units else Need.CONCEPTS
    return Settlement(need, unclear, margin, interval.units, needed)


def _above(interval: Interval) -> bool:
    """Whether the whole interval lies above 0; false where there is no interval."""
    return interval.low > 0


def _answer(yes: bool, interval: Interval, margin: float) -> StepAnswer:
    """Yes if that is shown, no if the interval shows that it is less than the margin."""
    return "yes" if yes else "no" if interval.high < margin else "unclear"
