"""The numbers that a verdict rests on, under the reference document."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.contrasts import document_shift
from introbench.analysis.excess import CONCEPTS, RANDOM, Excess, distinct_answers, random_answers
from introbench.analysis.noticed import SIDED, TrialShift
from introbench.prompts.schema import REFERENCE_DOCUMENT, SALIENCE
from introbench.records.factors import Plan
from introbench.stats.control_curve import FamilyAnswers, compare_families, fit_control_curve
from introbench.stats.intervals import NOT_MEASURED, Interval, own_rng

NEUTRAL_DOCUMENTS = ("neutral", "lorem")
"""What the reference document is compared with, with nothing injected; the first of them that was run."""


@dataclass(frozen=True)
class Evidence:
    """The numbers that a verdict rests on, of one document; intervals in nats.

    Attributes:
        live: How many concepts' vectors are live.
        tested: For how many of them that is known.
        excess: Excess of introspection over the control curve under the concepts' vectors.
        concepts: How many concepts it rests on.
        questions: How many introspection questions.
        controls: How many control questions.
        controls_planned: How many control questions the run set out to ask; they may not have been answered by all.
        near: Share of the introspection questions with control questions near their baselines.
        random: The excess under random vectors of the concepts' doses.
        beyond_random: The first minus the second.
        random_beyond_half: The second minus half of the first.
        dose_ratio: Mean dose of these random vectors over that of the concepts' vectors; NaN if that is not known.
        salience_asked: Whether the run set out to ask questions on whether something stands out.
        salience: Excess of these questions, under the concepts' vectors.
        beyond_salience: Excess of introspection minus that, in the same answer formats.
        salience_beyond_half: That of salience minus half of that of introspection, in the same answer formats; both
            beyond the random vectors if there are any.
        salience_near: Share of the salience questions with control questions near their baselines.
        bias: How far an answer with even odds moves toward yes.
        flattening: Share of the log-odds that is lost.
        baseline: Mean absolute log-odds of the introspection questions under the sham.
        document: How far the document by itself, with nothing injected, moves answers toward "noticed", compared with a
            neutral text of its length.
    """

    live: int = 0
    tested: int = 0
    excess: Interval = NOT_MEASURED
    concepts: int = 0
    questions: int = 0
    controls: int = 0
    controls_planned: int = 0
    near: float = math.nan
    random: Interval = NOT_MEASURED
    beyond_random: Interval = NOT_MEASURED
    random_beyond_half: Interval = NOT_MEASURED
    dose_ratio: float = math.nan
    salience_asked: bool = False
    salience: Interval = NOT_MEASURED
    beyond_salience: Interval = NOT_MEASURED
    salience_beyond_half: Interval = NOT_MEASURED
    salience_near: float = math.nan
    bias: Interval = NOT_MEASURED
    flattening: Interval = NOT_MEASURED
    baseline: float = 0.0
    document: Interval = NOT_MEASURED


def evidence(
    excesses: Sequence[Excess], trials: Sequence[TrialShift], plan: Plan, live: Mapping[str, bool | None]
) -> Evidence | None:
    """What a verdict rests on: the reference document's excesses; None if introspection was not asked.

    Args:
        excesses: The excesses under the reference document, or under all of them.
        trials: All trials of a run.
        plan: What the run set out to ask.
        live: For each concept, whether its vector is live; None if that is not known.
    """
    if "introspection" not in plan.families or not trials:
        return None
    document = plan.ordered_documents[0]
    here = [t for t in trials if t.document == document]
    by_vectors = {excess.vectors: excess for excess in excesses if excess.document == document}
    concepts, random = by_vectors.get(CONCEPTS), by_vectors.get(RANDOM)
    tested = [is_live for is_live in live.values() if is_live is not None]
    introspection = [t for t in here if t.family == "introspection"]
    baselines = [abs(t.baseline) for t in introspection if math.isfinite(t.baseline)]
    neutral = [name for name in NEUTRAL_DOCUMENTS if name in plan.documents and REFERENCE_DOCUMENT in plan.documents]
    return Evidence(
        live=sum(tested),
        tested=len(tested),
        concepts=len({t.concept for t in introspection}),
        questions=len({t.item for t in introspection}),
        controls_planned=len({t.item for t in here if t.family not in SIDED}),
        salience_asked=SALIENCE in plan.families,
        baseline=float(np.mean(baselines)) if baselines else 0.0,
        document=document_shift(trials, neutral[0]) if neutral else NOT_MEASURED,
        **_of_concepts(concepts),
        **_of_random(random),
        **_of_salience(here),
    )


def _of_concepts(concepts: Excess | None) -> dict[str, Any]:
    """What the concepts' vectors do."""
    if concepts is None:
        return {}
    fit = concepts.fit
    return {
        "excess": fit.excess,
        "controls": fit.controls,
        "near": fit.near,
        "bias": fit.bias,
        "flattening": fit.flattening,
    }


def _of_random(random: Excess | None) -> dict[str, Any]:
    """What random vectors of the concepts' doses do."""
    if random is None or random.beside_concepts is None:
        return {}
    return {
        "random": random.fit.excess,
        "beyond_random": random.beside_concepts.difference,
        "random_beyond_half": random.beside_concepts.beyond_half,
        "dose_ratio": random.dose_ratio,
    }


def _of_salience(trials: Sequence[TrialShift], seed: int = 0) -> dict[str, Any]:
    """Under the concepts' vectors: the excess of what stands out, beside that of introspection.

    Beside random vectors of equal dose both are taken beyond these, because a model whose introspection reads salience
    says as much of it under any vector: what all vectors do to a question then cancels.
    """
    salience = [t for t in trials if t.family == SALIENCE]
    if not salience:
        return {}
    concepts, random = (
        FamilyAnswers(*(of([t for t in trials if t.family in families]) for families in _families(trials)))
        for of in (distinct_answers, random_answers)
    )
    rng = own_rng(seed, SALIENCE)
    fit = fit_control_curve([*concepts.second, *concepts.controls], rng=rng)
    alone = compare_families([concepts], rng=rng)
    beyond_random = compare_families([concepts, random], rng=rng) if random.first and random.second else alone
    return {
        "salience": fit.excess,
        "salience_near": fit.near,
        "beyond_salience": alone.difference,
        "salience_beyond_half": beyond_random.beyond_half,
    }


def _families(trials: Sequence[TrialShift]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Introspection, salience, and the families of control questions."""
    return ["introspection"], [SALIENCE], sorted({t.family for t in trials} - set(SIDED))
