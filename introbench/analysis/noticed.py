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
from introbench.records.arm import ACTIVE, CONCEPT, IMPACT, NORM, RANDOM, SHAM, Arm, steerings_of
from introbench.records.factors import QuestionFactors, TrialFactors
from introbench.stats.intervals import NOT_MEASURED, Interval
from introbench.stats.simultaneous import excludes_zero

MATCHED = "introspection - matched controls"

SIDED = ("introspection", SALIENCE)
"""Question families with a side, on which something was noticed or stands out; all others are control questions."""

ScoredTrial = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A sample's metadata and the metadata of its score; the latter is empty where nothing could be read."""

ReadTrial = tuple[TrialFactors, Mapping[str, Any]]
"""The same with the trial's factors, which take as long to read as all the rest of a trial."""


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
        random: Shifts toward yes under the random vectors of equal dose, by vector; NaN likewise.
        baseline: Log-odds of yes under the sham, in nats.
        controls: Shifts toward yes under the concept's control vectors, by arm; NaN likewise.
        random_by_norm: Shifts toward yes under the random vectors of equal norm, by vector; NaN likewise.
        framing: How an introspection question puts what it asks; empty for other questions, and in older logs.
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
    random_by_norm: Mapping[str, float] = field(default_factory=dict)
    framing: str = ""

    @property
    def noticed(self) -> float:
        """The shift under the concept's vector, positive where it says "noticed" (or "stands out"), in nats."""
        return self.side * self.shift

    @property
    def noticed_under_random(self) -> dict[str, float]:
        """The same under each random vector of equal dose."""
        return self._noticed(self.random)

    @property
    def noticed_under_random_by_norm(self) -> dict[str, float]:
        """The same under each random vector of equal norm."""
        return self._noticed(self.random_by_norm)

    @property
    def noticed_under_controls(self) -> dict[str, float]:
        """The same under each control vector."""
        return self._noticed(self.controls)

    def under(self, shift: float) -> "TrialShift":
        """The same trial with another shift toward yes in place of the concept's, and no random vectors."""
        return replace(self, shift=shift, random={}, random_by_norm={})

    def _noticed(self, shifts: Mapping[str, float]) -> dict[str, float]:
        return {name: self.side * shift for name, shift in shifts.items()}


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
        questions: How many questions there are in the family that has fewest; 0 if it was not counted.
        simultaneous: An interval that holds together with those of all other results of the same table.
    """

    name: str
    document: str
    interval: Interval
    pairs: int
    missing: int
    questions: int = 0
    simultaneous: Interval = NOT_MEASURED

    @property
    def key(self) -> str:
        """Name and document in one string."""
        return f"{self.name} | {self.document}" if self.document else self.name

    @property
    def is_marked(self) -> bool:
        """Whether it differs from 0, allowing for how many results the table has."""
        return excludes_zero(self.simultaneous)


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
    labels = {
        (arm.number, arm.matched): vectors[name]
        for name, arm in arms.items()
        if arm.kind == RANDOM and arm.steering == first
    }
    by_dose, by_norm = (
        {
            labels[arm.number, matched]: log_odds[name] - sham
            for name, arm in steered.items()
            if (arm.kind, arm.matched) == (RANDOM, matched)
        }
        for matched in (IMPACT, NORM)
    )
    return replace(
        _without_shifts(question, concept),
        shift=next(log_odds[name] for name, arm in steered.items() if arm.kind == CONCEPT) - sham,
        random=by_dose,
        baseline=sham,
        controls={name: log_odds[name] - sham for name, arm in steered.items() if arm.is_control_vector},
        random_by_norm=by_norm,
    )


def _without_shifts(question: QuestionFactors, concept: str) -> TrialShift:
    """A trial before anything is known of its shifts."""
    return TrialShift(
        document=question.document,
        family=question.family,
        item=question.question,
        answer_format=question.answer_format,
        answer_kind=question.answer_kind,
        concept=concept,
        side=question.side,
        shift=math.nan,
        random={},
        framing=question.framing,
    )


def exact_numbers(shifts: TrialShift, active: TrialShift | None) -> dict[str, Any]:
    """What a score's metadata hold of a trial's shifts: what was noticed, unrounded; `trial_shift` reads it.

    Args:
        shifts: Under the injections that the run is about.
        active: Under the same injections while the model answers too, if they were run beside them.
    """
    exact: dict[str, Any] = {"shift": shifts.noticed, **_random_numbers(shifts)}
    if shifts.controls:
        exact["controls"] = shifts.noticed_under_controls
    if active:
        exact["active"] = {"shift": active.noticed, **_random_numbers(active)}
    return exact


def _random_numbers(shifts: TrialShift) -> dict[str, dict[str, float]]:
    """What was noticed under random vectors, as scores hold it.

    `random` holds those of equal dose. A trial of release 0.1.0 has random vectors of equal norm alone; when its log is
    scored again, they are called what that release called them: `random`.
    """
    by_dose, by_norm = shifts.noticed_under_random, shifts.noticed_under_random_by_norm
    if not by_dose:
        return {"random": by_norm}
    return {"random": by_dose, **({"random_by_norm": by_norm} if by_norm else {})}


def _random_shifts(factors: TrialFactors, noticed: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """The shifts toward yes under random vectors of equal dose and of equal norm, from what `_random_numbers` wrote."""
    side = factors.question.side
    random, random_by_norm = (
        {vector: side * shift for vector, shift in noticed.get(key, {}).items()} for key in ("random", "random_by_norm")
    )
    has_equal_doses = any(arm.kind == RANDOM and arm.matched == IMPACT for arm in factors.arms.values())
    return (random, random_by_norm) if has_equal_doses else ({}, random)


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
    random, random_by_norm = _random_shifts(factors, noticed)
    return replace(
        _without_shifts(question, factors.concept),
        shift=side * noticed.get("shift", math.nan),
        random=random,
        baseline=exact.get("log_odds", {}).get("sham", math.nan),
        controls={arm: side * shift for arm, shift in noticed.get("controls", {}).items()},
        random_by_norm=random_by_norm,
    )


def trial_shifts(trials: Iterable[ScoredTrial], *, active: bool = False) -> list[TrialShift]:
    """The shifts of all trials; those steered to the end, for trials that have them, if `active`."""
    return shifts_of_read_trials(read_trials(trials), active=active)


def read_trials(trials: Iterable[ScoredTrial]) -> list[ReadTrial]:
    """Read the factors of all trials."""
    return [(TrialFactors.from_json(metadata), exact) for metadata, exact in trials]


def shifts_of_read_trials(trials: Iterable[ReadTrial], *, active: bool = False) -> list[TrialShift]:
    """The same as `trial_shifts`, of trials whose factors have been read."""
    shifts = (trial_shift(factors, exact, active=active) for factors, exact in trials)
    return [shift for shift in shifts if shift is not None]
