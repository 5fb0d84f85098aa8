"""What each arm does on its own: mean shifts and contrasts with control questions, over questions.

Where there is one fine-tune rather than many concepts, questions are the exchangeable units, as if the questions asked
were a sample of those that could have been asked; formats are averaged within a question first. Shifts are toward
yes, and `ArmTrial.noticed` turns those of reversed questions, on which a no says that something was noticed.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.contrasts import side_beside
from introbench.analysis.noticed import MATCHED, SIDED, Result, ScoredTrial
from introbench.records.arm import RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors
from introbench.stats.intervals import NOT_MEASURED, Interval, combination_interval, own_rng
from introbench.stats.simultaneous import hold_together


@dataclass(frozen=True)
class ArmTrial:
    """One trial's shifts under every arm.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: The question.
        answer_format: How it was asked for and read.
        side: +1 if a yes says that something was noticed, -1 if a no does.
        shifts: Shift toward yes under each arm, in nats; empty or NaN where it is not finite.
    """

    document: str
    family: str
    item: str
    answer_format: str
    side: float
    shifts: Mapping[str, float]

    def noticed(self, arm: str) -> float:
        """The shift under an arm, positive where it says "noticed", in nats; NaN where it is not finite."""
        return self.side * self.shifts.get(arm, math.nan)


def arm_shifts(trials: Sequence[ArmTrial], arms: Sequence[str], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Mean shift of every arm for every document and question family.

    Args:
        trials: All trials of a run.
        arms: Which arms.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    rows = []
    for document in plan.ordered_documents:
        for arm in arms:
            for family in plan.families:
                cell = _Cell.of(trials, document, family, arm)
                rows.append(_Row(f"{arm}: {family}", document, [cell.noticed], cell.lost))
    return _results(rows, seed)


def arm_contrasts(trials: Sequence[ArmTrial], arms: Sequence[str], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Introspection against every family of control questions, for every arm and document.

    Args:
        trials: All trials of a run.
        arms: Which arms.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    if "introspection" not in plan.families:
        return []
    sides = {trial.side for trial in trials if trial.family == "introspection"}
    comparisons = {f"introspection - {f}": {side_beside(f, sides): f} for f in plan.families if f not in SIDED}
    if {"always_no", "always_yes"} <= set(plan.families):
        comparisons[MATCHED] = {1.0: "always_no", -1.0: "always_yes"}
    rows = [
        _against(trials, document, arm, name, beside)
        for document in plan.ordered_documents
        for arm in arms
        for name, beside in comparisons.items()
    ]
    return _results(rows, seed)


@dataclass(frozen=True)
class _Cell:
    """What one arm makes of each question of a family under a document: noticed, in nats, with the questions' sides."""

    noticed: list[float]
    sides: list[float]
    lost: int

    @classmethod
    def of(
        cls, trials: Sequence[ArmTrial], document: str, family: str, arm: str, formats: set[str] | None = None
    ) -> "_Cell":
        by_item: dict[str, list[float]] = defaultdict(list)
        sides: dict[str, float] = {}
        lost = 0
        for trial in sorted(trials, key=lambda t: (t.item, t.answer_format)):
            if (trial.document, trial.family) != (document, family):
                continue
            if formats is not None and trial.answer_format not in formats:
                continue
            noticed = trial.noticed(arm)
            if math.isnan(noticed):
                lost += 1
            else:
                by_item[trial.item].append(noticed)
                sides[trial.item] = trial.side
        return cls([float(np.mean(values)) for values in by_item.values()], list(sides.values()), lost)


def _against(trials: Sequence[ArmTrial], document: str, arm: str, name: str, beside: Mapping[float, str]) -> "_Row":
    def formats_of(family: str) -> set[str]:
        return {t.answer_format for t in trials if (t.document, t.family) == (document, family)}

    families = sorted(set(beside.values()))
    formats = formats_of("introspection")
    for family in families:
        formats = formats & formats_of(family) or formats
    introspection = _Cell.of([t for t in trials if t.side in beside], document, "introspection", arm, formats)
    samples, lost = [introspection.noticed], introspection.lost
    for family in families:
        control = _Cell.of(trials, document, family, arm, formats)
        lost += control.lost
        # A control question that stands beside a question is taken away from it; beside a reversed one it is added.
        weight = sum(side for side in introspection.sides if beside[side] == family) / max(1, len(introspection.sides))
        if weight:
            samples.append([-weight * value for value in control.noticed])
    return _Row(f"{arm}: {name}", document, samples, lost)


@dataclass(frozen=True)
class _Row:
    """One mean or contrast before its intervals are made.

    Attributes:
        name: The arm, and what is compared with what.
        document: Document in the first turn.
        samples: One number for each question of each family, with its sign and weight, introspection first.
        lost: Number of trials that could not be used.
    """

    name: str
    document: str
    samples: Sequence[Sequence[float]]
    lost: int

    def interval(self, seed: int) -> Interval:
        """The interval of the mean over questions."""
        if not all(self.samples):
            return NOT_MEASURED
        return combination_interval(self.samples, rng=own_rng(seed, self.name, self.document))


def _results(rows: Sequence[_Row], seed: int) -> list[Result]:
    """The results of one table, each with an interval by itself, and one that holds together with all the others."""
    intervals = [row.interval(seed) for row in rows]
    return [
        Result(
            row.name,
            row.document,
            interval,
            pairs=len(row.samples[0]) if interval.units else 0,
            missing=row.lost,
            simultaneous=together,
        )
        for row, interval, together in zip(rows, intervals, hold_together(intervals), strict=True)
    ]


def compared_arms(arms: Mapping[str, Arm]) -> list[str]:
    """Names of the arms that are compared with the sham; random vectors count as one, `random`."""
    named = [name for name, arm in arms.items() if arm.kind not in (SHAM, RANDOM)]
    return [*named, RANDOM] if any(arm.kind == RANDOM for arm in arms.values()) else named


def shifts_toward_yes(arms: Mapping[str, Arm], log_odds: Mapping[str, float]) -> dict[str, float]:
    """The shift of every arm that is compared with the sham, in nats; that of random vectors is their mean.

    Args:
        arms: The trial's arms by name.
        log_odds: Log-odds of yes under the arms whose numbers are finite, the sham's among them.
    """
    sham = next(log_odds[name] for name, arm in arms.items() if arm.kind == SHAM)
    shifts = {name: log_odds.get(name, math.nan) - sham for name in arms}
    random = [shifts[name] for name, arm in arms.items() if arm.kind == RANDOM]
    named = {name: shifts[name] for name, arm in arms.items() if arm.kind not in (SHAM, RANDOM)}
    return named | ({RANDOM: sum(random) / len(random)} if random else {})


def exact_numbers(question: QuestionFactors, shifts: Mapping[str, float]) -> dict[str, Any]:
    """What a score's metadata hold of a trial's shifts: what was noticed, unrounded; `arm_trial` reads it."""
    return {"shifts": {arm: question.side * shift for arm, shift in shifts.items()}}


def arm_trial(scored: ScoredTrial) -> ArmTrial:
    """One trial's shifts from its sample's metadata and its score's."""
    factors, exact = TrialFactors.from_json(scored[0]), scored[1]
    question = factors.question
    return ArmTrial(
        document=question.document,
        family=question.family,
        item=question.question,
        answer_format=question.answer_format,
        side=question.side,
        shifts={arm: question.side * noticed for arm, noticed in exact.get("shifts", {}).items()},
    )


class SwapRun:
    """What the trials of one run of the model swap say together.

    Args:
        trials: For each trial its sample's metadata and its score's.
        seed: Seed of the bootstrap.
    """

    def __init__(self, trials: Sequence[ScoredTrial], seed: int = 0) -> None:
        self._trials = [arm_trial(trial) for trial in trials]
        first = TrialFactors.from_json(trials[0][0])
        self._arms, self._plan, self._seed = compared_arms(first.arms), first.plan, seed

    def shifts(self) -> list[Result]:
        """Mean shift of every arm for every document and question family."""
        return arm_shifts(self._trials, self._arms, self._plan, seed=self._seed)

    def contrasts(self) -> list[Result]:
        """Introspection against every family of control questions, for every arm and document."""
        return arm_contrasts(self._trials, self._arms, self._plan, seed=self._seed)

    def headlines(self) -> list[Result]:
        """Introspection beyond control questions under the reference document: the fine-tune's arm, then the others.

        The control questions are the matched ones, or else the first family of them.
        """
        documents = self._plan.ordered_documents[:1]
        under_reference = [result for result in self.contrasts() if result.document in documents]
        comparisons = [result.name.partition(": ")[2] for result in under_reference]
        name = MATCHED if MATCHED in comparisons else next(iter(comparisons), "")
        return [result for result in under_reference if result.name.partition(": ")[2] == name]
