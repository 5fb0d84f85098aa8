"""The verdict on a model: a ladder of questions, each answered by an interval, and what follows from the answers.

A verdict is drawn from intervals and from a margin of equivalence, the smallest effect, in nats, that would matter to
the user. An interval that lies above 0 shows an effect. One that lies within the margin shows that there is none worth
speaking of. Any other shows neither; the step is open, and `introbench.analysis.settlement` says what would settle it.

The default margin is 0.5 nats: it moves an even answer from 50% to 62%, and one of 1% to 1.6%. Published shifts that
were taken for introspection are 1.2 to 5 nats; what steering does to control questions at usual strengths is of the
order of 0.1 to 1.

Here verdicts are decided; `introbench.report.verdict` puts them into words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from introbench.analysis.evidence import Evidence
from introbench.analysis.settlement import Bound, Settlement, settle
from introbench.stats.control_curve import HALF_LEVEL
from introbench.stats.intervals import Interval

RULES = 2
"""Version of these rules. Version 1 was that of the release whose random vectors had the concepts' norms."""

MARGIN = 0.5
"""Default margin of equivalence, in nats."""

TRACKS, TRACKS_LITTLE = "tracks the concept", "tracks the concept, but by less than the margin"

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
    TRACKS,
    TRACKS_LITTLE,
    "inconclusive",
)

INTROSPECTIVE = (TRACKS, TRACKS_LITTLE)
"""The verdicts that claim introspection."""

MOSTLY_NEAR = 0.75
"""Smallest share of the questions that must have control questions near their baselines for the control curve to say
anything about them."""

EQUAL_DOSE = 0.05
"""Relative difference up to which two mean doses count as equal."""


class StepName(StrEnum):
    """What a step of the ladder asks."""

    LIVE = "live"  # do the vectors bring their concepts to mind under active steering?
    EXCESS = "excess"  # does introspection move more than control questions with its baseline?
    NEAR = "near"  # are there control questions with the baselines of introspection questions?
    DOSE = "dose"  # do random vectors have the dose of the concepts' vectors?
    RANDOM = "random"  # do random vectors do at least half as much?
    BEYOND_RANDOM = "beyond random"  # do concepts' vectors do more than random vectors?
    SALIENCE = "salience"  # do questions on what stands out in the text move at least half as much?
    BEYOND_SALIENCE = "beyond salience"  # does introspection move more than these questions?
    BIAS = "bias"  # is every answer pushed toward yes, or toward no?
    FLATTENING = "flattening"  # is every answer pulled toward even odds, or away from them?
    DOCUMENT = "document"  # does the document move answers with nothing injected?


class StepAnswer(StrEnum):
    """What the evidence says to a step."""

    YES = "yes"
    NO = "no"
    YES_LITTLE = "yes, by less than the margin"
    LESS = "less than the margin"
    HALF = "half or more"
    LESS_THAN_HALF = "less than half"
    OPEN = "open"


@dataclass(frozen=True)
class Step:
    """One step of the ladder.

    Attributes:
        name: What is asked.
        answer: What the evidence says to that.
        intervals: The intervals that the answer rests on, by their names in `Evidence`.
        numbers: The other numbers that it rests on, by their names in `Evidence`; `margin` for the margin.
        bound: What an interval has to clear for the step to be settled; None where none would settle it.
    """

    name: StepName
    answer: StepAnswer
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    bound: Bound | None = None

    @property
    def settlement(self) -> Settlement | None:
        """What would settle the step; None if it is not open."""
        if self.answer is not StepAnswer.OPEN:
            return None
        return settle(self.intervals[self.bound.interval], self.bound) if self.bound else Settlement()


class Lack(StrEnum):
    """Why a run allows no verdict at all."""

    CONTROLS = "no control questions"
    FEW_CONTROLS = "fewer than three control questions"
    ONE_QUESTION = "one introspection question"
    ONE_CONCEPT = "one concept"
    NOTHING_SHARED = "nothing shared"  # no question was answered under all concepts, or numbers are not finite


@dataclass(frozen=True)
class Verdict:
    """What a run says about a model.

    Attributes:
        name: One of `VERDICTS`.
        steps: Every step of the ladder, also those that the verdict did not need.
        lack: Why there can be no verdict; None if there can. The name is `inconclusive` then.
    """

    name: str
    steps: tuple[Step, ...]
    lack: Lack | None = None

    @property
    def open_steps(self) -> tuple[Step, ...]:
        """The steps that the evidence leaves open."""
        return tuple(step for step in self.steps if step.answer is StepAnswer.OPEN)


def verdict(evidence: Evidence, margin: float = MARGIN) -> Verdict:
    """Draw a verdict: the first of these that holds. "Above 0" means that the whole interval lies above 0.

    1. Fewer than half of the vectors are live: `not live`.
    2. The excess is above 0, random vectors of the same dose bring one above 0, too, and this is shown to be more than
       half of it: `notices any perturbation`.
    3. The excess is above 0, and above that of random vectors; questions on what stands out in the text have one above
       0, too, which is shown to be more than half of it: `reads salience`. The thought makes something stand out, and
       nothing shows that the model looked inward.
    4. The excess is above 0 and above that of random vectors, which is shown to be less than half of it, and likewise
       for salience if it was asked: `tracks the concept`. It is said to be less than the margin if the whole interval
       is. The control curve has to be known where introspection and salience questions stand, and random vectors must
       have the concepts' dose; else `inconclusive`.
    5. The whole excess lies below 0 by more than the margin: introspection `moves the other way`.
    6. The whole excess lies below the margin, and something else moves answers by more than the margin: the largest of
       `yes-bias` or `no-bias`, `flattening` or its opposite `sharpening`, and the `document alone`.
    7. The whole excess lies within the margin, on both sides of 0: `no effect`.
    8. Else `inconclusive`.

    Args:
        evidence: The numbers.
        margin: Smallest effect that matters, in nats, above 0.
    """
    steps = _steps(evidence, margin)
    lack = _lack(evidence)
    answers = {step.name: step.answer for step in steps}
    return Verdict("inconclusive" if lack else _name(answers, evidence, margin), steps, lack)


def _name(answers: Mapping[StepName, StepAnswer], evidence: Evidence, margin: float) -> str:
    """The verdict that the answers call for: that of the first rung of the ladder that holds."""
    excess = evidence.excess
    above = _above(excess)
    beyond_random = _above(evidence.beyond_random) and answers[StepName.DOSE] is StepAnswer.YES
    tracks = (
        above
        and beyond_random
        and answers[StepName.RANDOM] is StepAnswer.LESS_THAN_HALF
        and answers[StepName.NEAR] is StepAnswer.YES
        and _is_inward(answers, evidence)
    )
    others = _others(evidence, margin)
    ladder = (
        (answers[StepName.LIVE] is StepAnswer.NO, "not live"),
        (above and answers[StepName.RANDOM] is StepAnswer.HALF, "notices any perturbation"),
        (above and beyond_random and answers.get(StepName.SALIENCE) is StepAnswer.HALF, "reads salience"),
        (tracks, TRACKS_LITTLE if excess.high < margin else TRACKS),
        (excess.high < -margin, "moves the other way"),
        (not above and excess.high < margin and bool(others), max(others, key=lambda n: others[n], default="")),
        (not above and -margin < excess.low and excess.high < margin, "no effect"),
        (True, "inconclusive"),
    )
    return next(name for holds, name in ladder if holds)


def _is_inward(answers: Mapping[StepName, StepAnswer], evidence: Evidence) -> bool:
    """Whether introspection is shown to move more than what stands out in the text, if that was asked."""
    return not evidence.salience_asked or (
        _above(evidence.beyond_salience) and answers[StepName.SALIENCE] is StepAnswer.LESS_THAN_HALF
    )


def _others(evidence: Evidence, margin: float) -> dict[str, float]:
    """What else is shown to move introspection answers by more than the margin: how far, in nats, by verdict."""
    bias, flattening, document = evidence.bias, evidence.flattening, evidence.document
    shown = {
        "yes-bias": (_above(bias), bias.estimate),
        "no-bias": (bias.high < 0, -bias.estimate),
        "flattening": (_above(flattening), flattening.estimate * evidence.baseline),
        "sharpening": (flattening.high < 0, -flattening.estimate * evidence.baseline),
        "document alone": (_above(document), document.estimate),
    }
    return {name: size for name, (exists, size) in shown.items() if exists and size > margin}


def _lack(evidence: Evidence) -> Lack | None:
    """What keeps the run from having a verdict."""
    if not math.isnan(evidence.excess.low):
        return None
    for is_lacking, lack in (
        (evidence.controls_planned == 0, Lack.CONTROLS),
        (evidence.controls_planned < 3, Lack.FEW_CONTROLS),
        (evidence.concepts == 1, Lack.ONE_CONCEPT),
        (evidence.questions == 1, Lack.ONE_QUESTION),
    ):
        if is_lacking:
            return lack
    return Lack.NOTHING_SHARED


def _steps(evidence: Evidence, margin: float) -> tuple[Step, ...]:
    """Every step of the ladder."""

    def step(name: StepName, answer: StepAnswer, *names: str, bound: Bound | None = None, **numbers: float) -> Step:
        intervals: dict[str, Interval] = {name: getattr(evidence, name) for name in names}
        return Step(name, answer, intervals, numbers, bound)

    others = _others(evidence, margin)
    random = _half(evidence, evidence.random, evidence.random_beyond_half, margin)
    salience = _half(evidence, evidence.salience, evidence.salience_beyond_half, margin)
    # A share of the excess is asked for where there is one; else whether there is anything at all.
    share, salient_share, below, level = (
        ("random_beyond_half", "salience_beyond_half", 0.0, HALF_LEVEL)
        if _above(evidence.excess)
        else ("random", "salience", margin, 0.95)
    )
    tested, live = evidence.tested, evidence.live
    dose = evidence.dose_ratio
    is_known = evidence.salience_near >= MOSTLY_NEAR or salience is StepAnswer.HALF
    return (
        step(
            StepName.LIVE,
            StepAnswer.OPEN if not tested else StepAnswer.NO if 2 * live < tested else StepAnswer.YES,
            live=live,
            tested=tested,
        ),
        step(StepName.EXCESS, _shown(evidence.excess, margin), "excess", bound=Bound("excess", margin), margin=margin),
        step(StepName.NEAR, _at_least(evidence.near, MOSTLY_NEAR), near=evidence.near),
        step(StepName.DOSE, _at_least(-abs(dose - 1), -EQUAL_DOSE), dose_ratio=dose),
        step(StepName.RANDOM, random, "random", share, bound=Bound(share, below, level=level)),
        step(
            StepName.BEYOND_RANDOM,
            _shown(evidence.beyond_random, margin),
            "beyond_random",
            bound=Bound("beyond_random", margin),
        ),
        step(
            StepName.SALIENCE,
            salience if is_known else StepAnswer.OPEN,
            "salience",
            salient_share,
            bound=Bound(salient_share, below, level=level) if is_known else None,
            salience_near=evidence.salience_near,
        ),
        step(
            StepName.BEYOND_SALIENCE,
            _shown(evidence.beyond_salience, margin),
            "beyond_salience",
            bound=Bound("beyond_salience", margin),
        ),
        step(
            StepName.BIAS,
            _moved(evidence.bias, 1.0, {"yes-bias", "no-bias"} & others.keys(), margin),
            "bias",
            bound=Bound("bias", margin, either_way=True),
        ),
        step(
            StepName.FLATTENING,
            _moved(evidence.flattening, evidence.baseline, {"flattening", "sharpening"} & others.keys(), margin),
            "flattening",
            bound=Bound("flattening", margin / max(evidence.baseline, 1e-9), either_way=True),
            baseline=evidence.baseline,
        ),
        step(
            StepName.DOCUMENT,
            _shown(evidence.document, margin),
            "document",
            bound=Bound("document", margin, units_are_questions=True),
        ),
    )


def _above(interval: Interval) -> bool:
    """Whether the whole interval lies above 0; false where there is no interval."""
    return interval.low > 0


def _shown(interval: Interval, margin: float) -> StepAnswer:
    """Whether an effect is shown, and shown to be less than the margin."""
    if interval.low > 0:
        return StepAnswer.YES_LITTLE if interval.high < margin else StepAnswer.YES
    if interval.high < 0:
        return StepAnswer.NO
    return StepAnswer.LESS if interval.high < margin else StepAnswer.OPEN


def _half(evidence: Evidence, other: Interval, beyond_half: Interval, margin: float) -> StepAnswer:
    """Whether something else moves at least half as much as introspection does, if that moves."""
    if not _above(evidence.excess):
        return _shown(other, margin)
    if _above(other) and _above(beyond_half):
        return StepAnswer.HALF
    return StepAnswer.LESS_THAN_HALF if beyond_half.high < 0 else StepAnswer.OPEN


def _at_least(share: float, least: float) -> StepAnswer:
    return StepAnswer.OPEN if math.isnan(share) else StepAnswer.YES if share >= least else StepAnswer.NO


def _moved(interval: Interval, size: float, shown: object, margin: float) -> StepAnswer:
    """Whether every answer is moved by more than the margin, in either direction, by an interval times a size."""
    if shown:
        return StepAnswer.YES
    within = -margin < interval.low * size and interval.high * size < margin
    return StepAnswer.LESS if within else StepAnswer.OPEN
