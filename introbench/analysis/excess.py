"""How far introspection moves in excess of the line through control questions, for every kind of vector.

Each kind of vector is a population of its own: for each of its vectors, a line through the control questions says what
the injection does to any answer, and what introspection moves in excess of that line is what counts; see
`introbench.stats.control_line`. Two populations are compared on the same questions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from introbench.analysis.contrasts import document_shift
from introbench.analysis.noticed import SIDED, TrialShift
from introbench.analysis.verdict import Evidence
from introbench.prompts.schema import REFERENCE_DOCUMENT, SALIENCE
from introbench.records.factors import Plan
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_line import (
    ControlLineFit,
    excess_difference,
    fit_control_line,
    paired_excess_difference,
)
from introbench.stats.intervals import NOT_MEASURED, Interval, own_rng

CONCEPTS, RANDOM = "concepts", "random vectors"


NEUTRAL_DOCUMENTS = ("neutral", "lorem")
"""What the reference document is compared with, with nothing injected; the first of them that was run."""


@dataclass(frozen=True)
class Excess:
    """One population of vectors under one document.

    Attributes:
        document: Document in the first turn.
        vectors: Whose vectors: `CONCEPTS`, `RANDOM`, or the name of a control arm.
        fit: The lines through their control questions, and the excess of introspection over these.
        behind_concepts: Excess of the concepts' vectors minus excess of these; None for the concepts' own.
    """

    document: str
    vectors: str
    fit: ControlLineFit
    behind_concepts: Interval | None


def excesses(
    trials: Sequence[TrialShift], plan: Plan, *, documents: Sequence[str] | None = None, seed: int = 0
) -> list[Excess]:
    """The excess of every population under each document; none without introspection and control questions.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        documents: Under which documents; all of the plan's by default.
        seed: Seed of the bootstrap.
    """
    if "introspection" not in plan.families or not set(plan.families) - set(SIDED):
        return []
    results = []
    for document in plan.ordered_documents if documents is None else documents:
        here = [trial for trial in trials if trial.document == document and trial.family != SALIENCE]
        populations = {CONCEPTS: [_answer(t, t.concept, t.shift) for t in here]}
        if any(t.random for t in here):
            populations[RANDOM] = [_answer(t, vector, shift) for t in here for vector, shift in t.random.items()]
        for arm in dict.fromkeys(name for t in here for name in t.controls):
            populations[arm] = [_answer(t, t.concept, t.controls[arm]) for t in here if arm in t.controls]
        for vectors, answers in populations.items():
            distinct = _distinct(answers)
            rng = own_rng(seed, document, vectors)
            fit = fit_control_line(distinct, rng=rng)
            behind = (
                None if vectors == CONCEPTS else excess_difference(_distinct(populations[CONCEPTS]), distinct, rng=rng)
            )
            results.append(Excess(document, vectors, fit, behind))
    return results


def evidence(
    excesses: Sequence[Excess], trials: Sequence[TrialShift], plan: Plan, live: Mapping[str, bool | None]
) -> Evidence | None:
    """What a verdict rests on: the reference document's excesses; None without introspection and control questions.

    Args:
        excesses: The excesses under the reference document, or under all of them.
        trials: All trials of a run.
        plan: What the run set out to ask.
        live: For each concept, whether its vector is live; None if that is not known.
    """
    by_vectors = {excess.vectors: excess for excess in excesses if excess.document == plan.ordered_documents[0]}
    if not by_vectors:
        return None
    here = [t for t in trials if t.document == plan.ordered_documents[0]]
    concepts, random = by_vectors[CONCEPTS].fit, by_vectors.get(RANDOM)
    neutral = [name for name in NEUTRAL_DOCUMENTS if name in plan.documents and REFERENCE_DOCUMENT in plan.documents]
    baselines = [abs(t.baseline) for t in here if t.family == "introspection" and math.isfinite(t.baseline)]
    tested = [is_live for is_live in live.values() if is_live is not None]
    salience, beyond_salience = _salience(here)
    return Evidence(
        live=sum(tested),
        tested=len(tested),
        excess=concepts.excess,
        random=random.fit.excess if random else NOT_MEASURED,
        beyond_random=(random.behind_concepts if random else None) or NOT_MEASURED,
        bias=concepts.bias,
        flattening=concepts.flattening,
        baseline=float(np.mean(baselines)) if baselines else 0.0,
        document=document_shift(trials, neutral[0]) if neutral else NOT_MEASURED,
        salience_asked=SALIENCE in plan.families,
        salience=salience,
        beyond_salience=beyond_salience,
        within_reach=concepts.within_reach,
        over_pull=concepts.over_pull,
    )


def _salience(trials: Sequence[TrialShift], seed: int = 0) -> tuple[Interval, Interval]:
    """Under the concepts' vectors: the excess of what stands out, and by how much that of introspection is more."""
    introspection, salience, controls = (
        _distinct([_answer(t, t.concept, t.shift) for t in of_family])
        for of_family in (
            [t for t in trials if t.family == "introspection"],
            [t for t in trials if t.family == SALIENCE],
            [t for t in trials if t.family not in SIDED],
        )
    )
    if not salience:
        return NOT_MEASURED, NOT_MEASURED
    rng = own_rng(seed, SALIENCE)
    return fit_control_line([*salience, *controls], rng=rng).excess, paired_excess_difference(
        introspection, salience, controls, rng=rng
    )


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
