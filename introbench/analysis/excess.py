"""How far introspection moves in excess of the curve through control questions, for every kind of vector.

Each kind of vector is a population of its own: for each of its vectors, a curve through the control questions says what
the injection does to any answer, and what introspection moves in excess of that curve is what counts; see
`introbench.stats.control_curve`. Two populations are compared on the same questions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from introbench.analysis.noticed import SIDED, ReadTrial, TrialShift
from introbench.prompts.schema import FRAMINGS, SALIENCE
from introbench.records.arm import CONCEPT, IMPACT, SHAM, Arm
from introbench.records.arm import RANDOM as RANDOM_ARM
from introbench.records.factors import Plan
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_curve import (
    Comparison,
    ControlCurveFit,
    compare_excesses,
    fit_control_curve,
)
from introbench.stats.intervals import Interval, own_rng

CONCEPTS, RANDOM, RANDOM_BY_NORM = "concepts", "random vectors", "random vectors (equal norm)"
"""Populations of vectors: those of the concepts, random vectors of their doses, and random vectors of their norms.
Control vectors are populations as well, by the names of their arms."""


@dataclass(frozen=True)
class Excess:
    """One population of vectors under one document.

    Attributes:
        document: Document in the first turn.
        vectors: Which population of vectors: `CONCEPTS`, `RANDOM`, `RANDOM_BY_NORM`, or the name of a control arm.
        fit: The curves through their control questions, and the excess of introspection over these.
        beside_concepts: The excess of the concepts' vectors beside that of these; None for the concepts' own.
        dose: Mean dose of these vectors, in nats; NaN if it is not known.
        dose_ratio: That over the mean dose of the concepts' vectors; NaN if one of them is not known.
    """

    document: str
    vectors: str
    fit: ControlCurveFit
    beside_concepts: Comparison | None
    dose: float = math.nan
    dose_ratio: float = math.nan


def mean_doses(trials: Iterable[ReadTrial]) -> dict[str, float]:
    """The mean dose of each population's vectors in nats, over the vectors whose doses are finite.

    Args:
        trials: The factors of each trial and its exact numbers.
    """
    by_population: dict[str, dict[tuple[int, int], float]] = {}
    for factors, exact in trials:
        for name, dose in exact.get("dose", {}).items():
            arm = factors.arms[name]
            if arm.kind != SHAM and dose is not None and math.isfinite(dose):
                by_population.setdefault(_population(name, arm), {})[factors.arm_batch, arm.row] = dose
    return {population: float(np.mean(list(doses.values()))) for population, doses in by_population.items()}


def _population(name: str, arm: Arm) -> str:
    """The population of an arm's vector."""
    if arm.kind == CONCEPT:
        return CONCEPTS
    if arm.kind == RANDOM_ARM:
        return RANDOM if arm.matched == IMPACT else RANDOM_BY_NORM
    return name


def excesses(
    trials: Sequence[TrialShift],
    plan: Plan,
    *,
    documents: Sequence[str] | None = None,
    doses: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[Excess]:
    """The excess of every population under each document; none without introspection and control questions.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        documents: Under which documents; all of the plan's by default.
        doses: The mean dose of each population in nats, from `mean_doses`.
        seed: Seed of the bootstrap.
    """
    if "introspection" not in plan.families or not set(plan.families) - set(SIDED):
        return []
    doses = doses or {}
    results = []
    for document in plan.ordered_documents if documents is None else documents:
        here = [trial for trial in trials if trial.document == document and trial.family != SALIENCE]
        populations = {CONCEPTS: [_answer(t, t.concept, t.shift) for t in here]}
        random = {
            RANDOM: [_answer(t, vector, shift) for t in here for vector, shift in t.random.items()],
            RANDOM_BY_NORM: [_answer(t, vector, shift) for t in here for vector, shift in t.random_by_norm.items()],
        }
        populations |= {vectors: answers for vectors, answers in random.items() if answers}
        for arm in dict.fromkeys(name for t in here for name in t.controls):
            populations[arm] = [_answer(t, t.concept, t.controls[arm]) for t in here if arm in t.controls]
        for vectors, answers in populations.items():
            distinct = _distinct(answers)
            rng = own_rng(seed, document, vectors)
            fit = fit_control_curve(distinct, rng=rng)
            beside = (
                None if vectors == CONCEPTS else compare_excesses(_distinct(populations[CONCEPTS]), distinct, rng=rng)
            )
            dose = doses.get(vectors, math.nan)
            ratio = dose / doses[CONCEPTS] if doses.get(CONCEPTS) else math.nan
            results.append(Excess(document, vectors, fit, beside, dose, ratio))
    return results


def excess_by_wording(trials: Sequence[TrialShift], document: str, *, seed: int = 0) -> dict[str, Interval]:
    """The concepts' excess of some introspection wordings alone: of each framing, of plain and of reversed ones.

    Args:
        trials: All trials of a run.
        document: Under which document.
        seed: Seed of the bootstrap.

    Returns:
        By what the wordings have in common; without groups that were not asked.
    """
    here = [trial for trial in trials if trial.document == document]
    controls = distinct_answers([trial for trial in here if trial.family not in SIDED])
    groups: dict[str, list[TrialShift]] = {}
    for trial in here:
        if trial.family == "introspection":
            for name in (trial.framing, "reversed" if trial.side < 0 else "plain"):
                groups.setdefault(name, []).append(trial)
    groups.pop("", None)  # older logs know no framings
    order = [name for name in (*FRAMINGS, "plain", "reversed") if name in groups]
    return {
        name: fit_control_curve([*distinct_answers(groups[name]), *controls], rng=own_rng(seed, document, name)).excess
        for name in order
    }


def distinct_answers(trials: Sequence[TrialShift]) -> list[Answer]:
    """The answers of some trials under the concepts' vectors."""
    return _distinct([_answer(t, t.concept, t.shift) for t in trials])


def random_answers(trials: Sequence[TrialShift]) -> list[Answer]:
    """The answers of some trials under random vectors of equal dose."""
    return _distinct([_answer(t, vector, shift) for t in trials for vector, shift in t.random.items()])


def _answer(trial: TrialShift, unit: str, shift: float) -> Answer:
    """One answer as the line needs it: the shift toward yes itself, whatever a yes says."""
    return Answer(
        unit=unit,
        item=trial.item,
        kind=trial.answer_kind,
        labels=trial.answer_format,
        side=trial.side if trial.family in SIDED else 0.0,
        baseline=trial.baseline,
        shift=shift,
    )


def _distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Each answer once: a random vector serves several concepts, with the same number each time."""
    return list({(answer.unit, answer.item, answer.labels): answer for answer in answers}.values())
