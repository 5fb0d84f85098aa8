"""What would settle a step of the ladder that a run leaves open: the cheapest larger run, or what it lacks."""

import math
from dataclasses import dataclass, replace

from introbench.stats.intervals import Interval
from introbench.stats.power import cheapest_run

FAMILIES = ("controls", "questions", "salience")
"""What the families of questions of an interval are, in their order."""


@dataclass(frozen=True)
class Bound:
    """What an interval has to clear for its step to be settled: 0 from above, or a bound from below.

    Attributes:
        interval: The interval, by its name in `Evidence`.
        below: In nats.
        units_are_questions: Whether its units are introspection questions, and not concepts.
        level: Nominal coverage of the interval.
        either_way: Whether it may clear them in the other direction as well.
    """

    interval: str
    below: float
    units_are_questions: bool = False
    level: float = 0.95
    either_way: bool = False


@dataclass(frozen=True)
class Settlement:
    """What would settle a step that is open. Numbers are those that the larger run has in all, 0 where nothing changes.

    Attributes:
        measured: Whether there is an interval; if not, what the step needs was not run, or too little of it.
        possible: Whether some run of a size that can be proposed would settle it.
        concepts: Concepts of the larger run.
        questions: Introspection questions.
        controls: Control questions.
        salience: Questions on what stands out in the text.
    """

    measured: bool = False
    possible: bool = False
    concepts: int = 0
    questions: int = 0
    controls: int = 0
    salience: int = 0


def settle(interval: Interval, bound: Bound) -> Settlement:
    """The cheapest larger run that would settle a step.

    Args:
        interval: What leaves it open.
        bound: What the interval has to clear.
    """
    if not math.isfinite(interval.low):
        return Settlement()
    if bound.either_way and interval.estimate < 0:
        interval = replace(interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low)
    run = cheapest_run(interval, max(0.0, bound.below), bound.level)
    if run is None:
        return Settlement(measured=True)
    before = {int(part.source.split()[1]): part.count for part in interval.parts if part.source.startswith("questions")}
    more = {FAMILIES[family]: count for family, count in run.questions.items() if count > before[family]}
    if run.units > interval.units:
        more["questions" if bound.units_are_questions else "concepts"] = run.units
    return Settlement(measured=True, possible=True, **more)
