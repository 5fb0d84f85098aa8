"""One trial's shifts, always toward yes, and the one place where they are turned into "noticed".

A shift is the log-odds of yes under an injection minus the log-odds of yes under the sham, on the same tokens. On a
reversed question a no says that something was noticed; there, and only in `TrialShift.noticed`, the sign is turned.
Scores keep what was noticed, since that is what a person looks for in the log viewer; `exact_numbers` and `trial_shift`
write and read them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from introbench.prompts.schema import SALIENCE
from introbench.records.arm import ACTIVE, CONCEPT, RANDOM, SHAM, Arm, steerings_of
from introbench.records.factors import QuestionFactors, TrialFactors
from introbench.stats.intervals import Interval

MATCHED = "introspection - matched controls"

SIDED = ("introspection", SALIENCE)
"""Question families with a side, on which something was noticed or stands out; all others are control questions."""

ScoredTrial = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A sample's metadata and the metadata of its score; the latter is empty where nothing could be read."""


@dataclass(frozen=True)
class TrialShift:
    """One trial's shifts toward yes.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: The question.
        answer_format: How it was asked for and read.
        answer_kind: What the format has in common with others that use the same labels.
        concept: The injected concept.
        side: +1 if a yes says that something was noticed or stands out, -1 if a no does.
        shift: Shift toward yes under the concept's vector, in nats; NaN if the trial has no finite numbers.
        random: Shifts toward yes under the random vectors, by vector; NaN likewise.
        baseline: Log-odds of yes under the sham, in nats.
        controls: Shifts toward yes under the concept's control vectors, by arm; NaN likewise.
    """

    document: str
    family: str
    item: str
    answer_format: str
    answer_kind: str
    concept: str
    side: float
    shift: float
    random: Mapping[str, float]
    baseline: float = math.nan
    controls: Mapping[str, float] = field(default_factory=dict)

    @property
    def noticed(self) -> float:
        """The shift under the concept's vector, positive where it says "noticed" (or "stands out"), in nats."""
        return self.side * self.shift

    @property
    def noticed_under_random(self) -> dict[str, float]:
        """The same under each random vector."""
        return {vector: self.side * shift for vector, shift in self.random.items()}

    @property
    def noticed_under_controls(self) -> dict[str, float]:
        """The same under each control vector."""
        return {arm: self.side * shift for arm, shift in self.controls.items()}

    def under(self, shift: float) -> "TrialShift":
        """The same trial with another shift toward yes in place of the concept's, and no random vectors."""
        return replace(self, shift=shift, random={})


@dataclass(frozen=True)
class Result:
    """One mean or contrast.

    Attributes:
        name: What is compared with what, e.g. `introspection - always_no`.
        document: Under which document; empty if documents are compared.
        interval: Estimate and 95% interval, in nats.
        pairs: How many pairs were differenced: trials and their shams, trials and the same trials under another
            document, or, where question families are compared, concepts.
        missing: Number of trials that belong to it and could not be used: lost, not finite, or without a partner.
    """

    name: str
    document: str
    interval: Interval
    pairs: int
    missing: int

    @property
    def key(self) -> str:
        """Name and document in one string."""
        return f"{self.name} | {self.document}" if self.document else self.name


def shifts_of_arms(
    question: QuestionFactors,
    concept: str,
    arms: Mapping[str, Arm],
    log_odds: Mapping[str, float],
    vectors: Mapping[str, str],
    steering: str,
) -> TrialShift:
    """A trial's shifts from the log-odds of its arms.

    Args:
        question: What was asked.
        concept: What was injected.
        arms: The trial's arms by name.
        log_odds: Log-odds of yes under each arm, in nats; NaN where they are not finite. The sham's are.
        vectors: Label of each arm's vector.
        steering: The injections that are on while the prior turn is read (`cache`) or to the end (`active`).
    """
    sham = next(log_odds[name] for name, arm in arms.items() if arm.kind == SHAM)
    steered = {name: arm for name, arm in arms.items() if arm.steering == steering}
    # A random vector is one unit whenever it is on: it is called what it is called where the run's own injections are.
    (first, *_) = steerings_of(arms.values())
    labels = {arm.number: vectors[name] for name, arm in arms.items() if arm.kind == RANDOM and arm.steering == first}
    return TrialShift(
        document=question.document,
        family=question.family,
        item=question.question,
        answer_format=question.answer_format,
        answer_kind=question.answer_kind,
        concept=concept,
        side=question.side,
        shift=next(log_odds[name] for name, arm in steered.items() if arm.kind == CONCEPT) - sham,
        random={labels[arm.number]: log_odds[name] - sham for name, arm in steered.items() if arm.kind == RANDOM},
        baseline=sham,
        controls={name: log_odds[name] - sham for name, arm in steered.items() if arm.is_control_vector},
    )


def exact_numbers(shifts: TrialShift, active: TrialShift | None) -> dict[str, Any]:
    """What a score's metadata hold of a trial's shifts: what was noticed, unrounded; `trial_shift` reads it.

    Args:
        shifts: Under the injections that the run is about.
        active: Under the same injections while the model answers too, if they were run beside them.
    """
    exact: dict[str, Any] = {"shift": shifts.noticed, "random": shifts.noticed_under_random}
    if shifts.controls:
        exact["controls"] = shifts.noticed_under_controls
    if active:
        exact["active"] = {"shift": active.noticed, "random": active.noticed_under_random}
    return exact


def trial_shift(factors: TrialFactors, exact: Mapping[str, Any], *, active: bool = False) -> TrialShift | None:
    """One trial's shifts from its factors and the metadata of its score.

    Args:
        factors: The trial's factors.
        exact: What `exact_numbers` wrote, and `log_odds` by arm; empty if the trial has no finite numbers.
        active: Whether to read what was steered to the end beside the run's own injections.

    Returns:
        None if there was nothing beside the run's own injections.
    """
    if active and ACTIVE not in steerings_of(factors.arms.values())[1:]:
        return None
    question = factors.question
    side = question.side
    noticed = exact.get("active", {}) if active else exact
    return TrialShift(
        document=question.document,
        family=question.family,
        item=question.question,
        answer_format=question.answer_format,
        answer_kind=question.answer_kind,
        concept=factors.concept,
        side=side,
        shift=side * noticed.get("shift", math.nan),
        random={vector: side * shift for vector, shift in noticed.get("random", {}).items()},
        baseline=exact.get("log_odds", {}).get("sham", math.nan),
        controls={arm: side * shift for arm, shift in noticed.get("controls", {}).items()},
    )


def trial_shifts(trials: Iterable[ScoredTrial], *, active: bool = False) -> list[TrialShift]:
    """The shifts of all trials; those steered to the end, for trials that have them, if `active`."""
    shifts = (trial_shift(TrialFactors.from_json(factors), exact, active=active) for factors, exact in trials)
    return [shift for shift in shifts if shift is not None]
