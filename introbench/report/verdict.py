"""A verdict in words: the steps of its ladder as rows of a table, what it says, and what would settle what is open."""

import math
from collections.abc import Sequence

from introbench.analysis.settlement import Settlement
from introbench.analysis.verdict import TRACKS, TRACKS_LITTLE, Lack, Step, StepAnswer, StepName, Verdict
from introbench.report.text import share_text
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
    StepName.NEAR: (
        "Are there control questions with baselines like its own?",
        "near {near} of its questions",
    ),
    StepName.DOSE: (
        "Do random vectors have the dose of the concepts' vectors?",
        "{dose_ratio} of it on average",
    ),
    StepName.RANDOM: (
        "Do random vectors of that dose do at least half as much?",
        "excess {random}{random_beyond_half}",
    ),
    StepName.BEYOND_RANDOM: ("Do concepts' vectors do more than these?", "difference {beyond_random}"),
    StepName.SALIENCE: (
        "Do questions on what stands out in the text move at least half as much?",
        "excess {salience}{salience_beyond_half}, control questions near {salience_near} of them",
    ),
    StepName.BEYOND_SALIENCE: ("Does introspection move more than these?", "difference {beyond_salience}"),
    StepName.BIAS: ("Is every answer pushed toward yes, or no?", "{bias}"),
    StepName.FLATTENING: (
        "Is every answer pulled toward even odds, or away?",
        "{flattening} of the log-odds, which are {baseline:.2f} nats",
    ),
    StepName.DOCUMENT: ("Does the document do it, with nothing injected?", "{document}"),
}
"""For each step its question, and how the numbers are shown that its answer rests on."""

SAYS = {
    "not live": "the vectors do not bring their concepts to mind even while they are on, so that nothing follows",
    "no effect": "injections move introspection answers by less than the margin beyond what they do to any answer",
    "moves the other way": "under an injection the model reports less than without, by more than the margin",
    "yes-bias": "injections push every answer toward yes, and introspection no more than that",
    "no-bias": "injections push every answer toward no, and introspection no more than that",
    "flattening": "injections pull every answer toward even odds, and introspection no more than that",
    "sharpening": "injections make every answer more confident, and introspection no more than that",
    "notices any perturbation": "the model reports random perturbations of the same dose at least half as much",
    "reads salience": "the model says at least half as much that something in the text stands out",
    "document alone": "the document makes the model report something with nothing injected",
    TRACKS: "concepts' vectors move introspection answers beyond all that was asked beside them; by what means, and "
    "whether the model knows what the thought is, is not shown",
    TRACKS_LITTLE: "concepts' vectors move introspection answers beyond all that was asked beside them, but by less "
    "than the margin",
    "inconclusive": "the intervals do not decide",
}
"""What each verdict licenses."""

_NARROWER = "a narrower margin (margin=...), within which introspection may still move"
_MORE_CONTROLS = "one more family of control questions that moves as much"
OVERTURNED_BY = {
    "not live": "layers or a strength at which they do (evals/calibrate.py)",
    "no effect": "a sweep that finds layers and a strength at which introspection moves",
    "moves the other way": "wordings on which the model does not report less",
    "yes-bias": _NARROWER,
    "no-bias": _NARROWER,
    "flattening": _NARROWER,
    "sharpening": _NARROWER,
    "notices any perturbation": "random vectors that do less than half as much on other wordings",
    "reads salience": "questions on what stands out that move less than half as much",
    "document alone": _NARROWER,
    TRACKS: _MORE_CONTROLS,
    TRACKS_LITTLE: _MORE_CONTROLS,
}
"""What would overturn each verdict; one that is inconclusive has open steps instead."""

LACKS = {
    Lack.CONTROLS: "no control question was asked with the injection, so that nothing tells introspection from what an "
    "injection does to any answer; ask control questions (families=...)",
    Lack.FEW_CONTROLS: "fewer than three control questions were asked: no curve can be fitted; ask all families",
    Lack.ONE_QUESTION: "one introspection question was asked: other wordings may do otherwise; ask several",
    Lack.ONE_CONCEPT: "one concept was injected: other concepts may do otherwise; inject several (nine by default)",
    Lack.NOTHING_SHARED: "no interval: too few questions were answered with finite numbers under all concepts, or "
    "baselines of the control questions are all alike; see the column missing",
}
"""Why there is no verdict, and what to do."""

SHORT = {
    StepName.LIVE: "live vectors",
    StepName.EXCESS: "excess",
    StepName.NEAR: "near control questions",
    StepName.DOSE: "dose of random vectors",
    StepName.RANDOM: "half for random vectors",
    StepName.BEYOND_RANDOM: "beyond random vectors",
    StepName.SALIENCE: "half for salience",
    StepName.BEYOND_SALIENCE: "beyond salience",
    StepName.BIAS: "push",
    StepName.FLATTENING: "pull",
    StepName.DOCUMENT: "document",
}
"""Short names of the steps."""

_SALIENCE = (
    "questions on what stands out in the text (families with salience), and control questions near their baselines"
)
NEEDS = {
    StepName.LIVE: "random vectors (random_vectors=3)",
    StepName.NEAR: "control questions",
    StepName.DOSE: "random vectors of the concepts' doses (random_vectors=3)",
    StepName.RANDOM: "random vectors of the concepts' doses (random_vectors=3)",
    StepName.BEYOND_RANDOM: "random vectors of the concepts' doses (random_vectors=3)",
    StepName.SALIENCE: _SALIENCE,
    StepName.BEYOND_SALIENCE: _SALIENCE,
    StepName.DOCUMENT: "the documents info and neutral, several introspection questions",
}
"""What a step needs that was not measured."""


def ladder(verdict: Verdict) -> list[tuple[str, str, str]]:
    """The steps as rows of a table: question, answer, numbers."""
    return [(WORDS[step.name][0], step.answer, numbers_text(step)) for step in verdict.steps]


def numbers_text(step: Step) -> str:
    """The numbers that a step's answer rests on."""
    unit = "" if step.name is StepName.FLATTENING else " nats"
    texts = {name: interval_text(interval, unit) for name, interval in step.intervals.items()}
    halves = {name: f", minus half of introspection's (90% interval) {texts.get(name, '')}" for name in _HALVES}
    texts |= {name: text if name in texts else "" for name, text in halves.items()}
    shares = {name: share_text(step.numbers[name]) for name in _SHARES if name in step.numbers}
    return WORDS[step.name][1].format(**{**step.numbers, **texts, **shares})


_HALVES = ("random_beyond_half", "salience_beyond_half")
_SHARES = ("near", "dose_ratio", "salience_near")


def verdict_text(verdict: Verdict) -> str:
    """What the verdict says, in one sentence; why there is none, where a run allows none."""
    return LACKS[verdict.lack] if verdict.lack else SAYS[verdict.name]


def settlement_lines(verdict: Verdict) -> list[str]:
    """For each open step, the cheapest run that would settle it; steps that the same run would settle share a line."""
    return [f"- {line}" for line in _settlements(verdict.open_steps)]


def _settlements(steps: Sequence[Step]) -> list[str]:
    names: dict[str, list[str]] = {}
    for step in steps:
        text = (
            settlement_text(step.name, step.settlement) if step.settlement else f"{step.answer}, {numbers_text(step)}"
        )
        names.setdefault(text, []).append(SHORT[step.name])
    return [f"{', '.join(of_text)}: {text}" for text, of_text in names.items()]


def change_lines(verdict: Verdict, salience_asked: bool) -> list[str]:
    """What would change a verdict, in sentences: what would overturn it, or what an inconclusive run leaves undecided.

    Args:
        verdict: The verdict; if a run allows none, `verdict_text` says what it lacks.
        salience_asked: Whether the run asked questions on what stands out in the text.
    """
    if verdict.lack:
        return []
    if verdict.name in OVERTURNED_BY:
        return [f"What would overturn it: {OVERTURNED_BY[verdict.name]}."]
    return [f"What would decide it: {line}." for line in _settlements(undecided(verdict, salience_asked))]


def undecided(verdict: Verdict, salience_asked: bool) -> list[Step]:
    """The steps that keep a run from a verdict: the excess, or, if it is above 0, what would make it introspection."""
    steps = {step.name: step for step in verdict.steps}
    if not steps[StepName.EXCESS].intervals["excess"].low > 0:
        return [steps[StepName.EXCESS]]
    return [
        steps[name]
        for name, asked_for in _TRACKING.items()
        if steps[name].answer not in asked_for and (salience_asked or name not in _OF_SALIENCE)
    ]


_SHOWN = (StepAnswer.YES, StepAnswer.YES_LITTLE)
_OF_SALIENCE = (StepName.SALIENCE, StepName.BEYOND_SALIENCE)
_TRACKING = {
    StepName.NEAR: _SHOWN,
    StepName.DOSE: _SHOWN,
    StepName.RANDOM: (StepAnswer.LESS_THAN_HALF,),
    StepName.BEYOND_RANDOM: _SHOWN,
    StepName.SALIENCE: (StepAnswer.LESS_THAN_HALF,),
    StepName.BEYOND_SALIENCE: _SHOWN,
}
"""The answers that an excess above 0 needs to be one that tracks the concept."""


def settlement_text(name: StepName, settlement: Settlement) -> str:
    """What would settle one open step."""
    if not settlement.measured:
        return f"not measured; run {NEEDS.get(name, 'at least two concepts and several questions')}"
    if not settlement.possible:
        return "no run of a reasonable size would settle it; kinds of answers, questions or concepts differ too much"
    more = [
        f"{count} {what}"
        for count, what in (
            (settlement.questions, "introspection wordings"),
            (settlement.controls, "control questions"),
            (settlement.salience, "questions on what stands out"),
            (settlement.concepts, "concepts"),
        )
        if count
    ]
    if not more:
        return "a run of the same size with other concepts and wordings would probably settle it"
    return f"{' and '.join(more)} in all would settle it in {POWER:.0%} of runs"


def interval_text(interval: Interval, unit: str) -> str:
    """An estimate with its interval and unit, as far as they are known."""
    if math.isnan(interval.estimate):
        return "not measured"
    if math.isnan(interval.low):
        return f"{interval.estimate:+.3f}{unit}, no interval"
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{unit}"
