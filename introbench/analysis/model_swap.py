"""What each arm does on its own: mean shifts and contrasts with control questions, over questions.

Where there is one fine-tune rather than many concepts, questions are the exchangeable units, as if the questions asked
were a sample of those that could have been asked; formats are averaged within a question first. The signs are those of
`introbench.analysis.contrasts`: on a reversed introspection question a no says that something was noticed.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from inspect_ai.scorer import Score

from introbench.analysis.shifts import MATCHED, NO_CONTROLS, Plan, Result
from introbench.scorers.introspection import RANDOM_ARM
from introbench.stats.intervals import Interval, combination_interval, own_rng


@dataclass(frozen=True)
class ArmTrial:
    """One trial's shifts under every arm.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: The question.
        answer_format: How it was asked for and read.
        sign: -1 if a no says that something was noticed, else +1; it is already in the shifts.
        shifts: Shift of each arm against the sham, in nats; empty or NaN where it is not finite.
    """

    document: str
    family: str
    item: str
    answer_format: str
    sign: float
    shifts: Mapping[str, float]


def arm_shifts(trials: Sequence[ArmTrial], arms: Sequence[str], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Mean shift of every arm for every document and question family.

    Args:
        trials: All trials of a run.
        arms: Which arms.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    results = []
    for document in plan.ordered_documents:
        for arm in arms:
            for family in plan.families:
                cell = _Cell.of(trials, document, family, arm)
                results.append(_result(f"{arm}: {family}", document, [cell.values], cell.lost, seed))
    return results


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
    comparisons = {f"introspection - {f}": {1.0: f, -1.0: f} for f in plan.families if f not in NO_CONTROLS}
    if {"always_no", "always_yes"} <= set(plan.families):
        comparisons[MATCHED] = {1.0: "always_no", -1.0: "always_yes"}
    return [
        _against(trials, document, arm, name, beside, seed)
        for document in plan.ordered_documents
        for arm in arms
        for name, beside in comparisons.items()
    ]


@dataclass(frozen=True)
class _Cell:
    """One arm's mean shift on each question of a family under a document, with the questions' signs."""

    values: list[float]
    signs: list[float]
    lost: int

    @classmethod
    def of(
        cls, trials: Sequence[ArmTrial], document: str, family: str, arm: str, formats: set[str] | None = None
    ) -> "_Cell":
        by_item: dict[str, list[float]] = defaultdict(list)
        signs: dict[str, float] = {}
        lost = 0
        for t in sorted(trials, key=lambda t: (t.item, t.answer_format)):
            if (t.document, t.family) != (document, family) or (formats is not None and t.answer_format not in formats):
                continue
            shift = t.shifts.get(arm, math.nan)
            if math.isnan(shift):
                lost += 1
            else:
                by_item[t.item].append(shift)
                signs[t.item] = t.sign
        return cls([float(np.mean(each)) for each in by_item.values()], list(signs.values()), lost)


def _against(
    trials: Sequence[ArmTrial], document: str, arm: str, name: str, beside: Mapping[float, str], seed: int
) -> Result:
    def formats_of(family: str) -> set[str]:
        return {t.answer_format for t in trials if (t.document, t.family) == (document, family)}

    families = sorted(set(beside.values()))
    formats = formats_of("introspection")
    for family in families:
        formats = formats & formats_of(family) or formats
    introspection = _Cell.of(trials, document, "introspection", arm, formats)
    samples, lost = [introspection.values], introspection.lost
    for family in families:
        control = _Cell.of(trials, document, family, arm, formats)
        lost += control.lost
        # What stands beside plain questions is taken away from them; beside reversed ones, whose sign is turned, added.
        weight = sum(sign for sign in introspection.signs if beside[sign] == family) / max(1, len(introspection.signs))
        if weight:
            samples.append([-weight * value for value in control.values])
    return _result(f"{arm}: {name}", document, samples, lost, seed)


def _result(name: str, document: str, samples: Sequence[Sequence[float]], lost: int, seed: int) -> Result:
    rng = own_rng(seed, name, document)
    if not all(samples):
        return Result(name, document, Interval(math.nan, math.nan, math.nan, 0), 0, lost)
    return Result(name, document, combination_interval(samples, rng=rng), len(samples[0]), lost)


def compared_arms(factors: Mapping[str, Any]) -> list[str]:
    """The arms that are compared with the sham; random vectors count as one."""
    named = [arm for arm in factors["arms"] if arm != "sham" and not RANDOM_ARM.fullmatch(arm)]
    return [*named, "random"] if any(RANDOM_ARM.fullmatch(arm) for arm in factors["arms"]) else named


def arm_trial(factors: Mapping[str, Any], score: Score) -> ArmTrial:
    """One trial's shifts from its factors and its score."""
    return ArmTrial(
        document=factors["document"],
        family=factors["family"],
        item=factors["question"],
        answer_format=factors["format"],
        sign=-1.0 if factors["reversed"] else 1.0,
        shifts=(score.metadata or {}).get("shifts", {}),
    )
