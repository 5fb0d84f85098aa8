"""What introspection moves beyond confusion: under concepts' vectors, under random ones, and under their controls.

Each kind of vector is a population of its own: for each of its vectors, a line through the control questions says what
the injection does to any answer, and what introspection moves in excess of that line is what counts; see
`introbench.stats.control_line`. Two populations are compared on the same questions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from introbench.analysis.contrasts import document_shift
from introbench.analysis.shifts import NO_CONTROLS, Plan, TrialShift
from introbench.analysis.verdict import NOT_MEASURED, Evidence
from introbench.prompts import data
from introbench.prompts.schema import REFERENCE_DOCUMENT, SALIENCE
from introbench.stats.balanced_answers import Answer
from introbench.stats.control_line import Confusion, beyond, confusion, difference
from introbench.stats.intervals import Interval, own_rng

CONCEPTS, RANDOM = "concepts", "random vectors"


PLAIN_DOCUMENTS = ("neutral", "lorem")
"""What the reference document is compared with, with nothing injected; the first of them that was run."""


@dataclass(frozen=True)
class Excess:
    """One population of vectors under one document.

    Attributes:
        document: Document in the first turn.
        vectors: Whose vectors: `CONCEPTS`, `RANDOM`, or the name of a control arm.
        confusion: What they did to all answers, and to introspection beyond that.
        behind_concepts: Excess of the concepts' vectors minus excess of these; None for the concepts' own.
    """

    document: str
    vectors: str
    confusion: Confusion
    behind_concepts: Interval | None


def excesses(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Excess]:
    """The excess of every population under every document; none without introspection and control questions.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    if "introspection" not in plan.families or not set(plan.families) - set(NO_CONTROLS):
        return []
    found = []
    for document in plan.ordered_documents:
        here = [trial for trial in trials if trial.document == document and trial.family != SALIENCE]
        populations = {CONCEPTS: [_answer(t, t.concept, t.shift) for t in here]}
        if any(t.random for t in here):
            populations[RANDOM] = [_answer(t, vector, shift) for t in here for vector, shift in t.random.items()]
        for arm in dict.fromkeys(name for t in here for name in t.controls):
            populations[arm] = [_answer(t, t.concept, t.controls[arm]) for t in here if arm in t.controls]
        for vectors, answers in populations.items():
            distinct = _distinct(answers)
            rng = own_rng(seed, document, vectors)
            own = confusion(distinct, rng=rng)
            behind = None if vectors == CONCEPTS else difference(_distinct(populations[CONCEPTS]), distinct, rng=rng)
            found.append(Excess(document, vectors, own, behind))
    return found


def evidence(
    found: Sequence[Excess], trials: Sequence[TrialShift], plan: Plan, live: Mapping[str, bool | None]
) -> Evidence | None:
    """What a verdict rests on: the reference document's excesses; None without introspection and control questions.

    Args:
        found: The excesses under the reference document, or under all of them.
        trials: All trials of a run.
        plan: What the run set out to ask.
        live: For each concept, whether its vector is live; None if that is not known.
    """
    found = [each for each in found if each.document == plan.ordered_documents[0]]
    if not found:
        return None
    by_vectors = {each.vectors: each for each in found}
    own, random = by_vectors[CONCEPTS].confusion, by_vectors.get(RANDOM)
    beside = [each for each in PLAIN_DOCUMENTS if each in plan.documents and REFERENCE_DOCUMENT in plan.documents]
    asked = [t for t in trials if t.family == "introspection" and t.document == found[0].document]
    baselines = [abs(t.baseline) for t in asked if math.isfinite(t.baseline)]
    known = [each for each in live.values() if each is not None]
    salience, beyond_salience = _salience([t for t in trials if t.document == found[0].document])
    return Evidence(
        live=sum(known),
        tested=len(known),
        excess=own.excess,
        random=random.confusion.excess if random else NOT_MEASURED,
        beyond_random=(random.behind_concepts if random else None) or NOT_MEASURED,
        bias=own.bias,
        flattening=own.flattening,
        baseline=float(np.mean(baselines)) if baselines else 0.0,
        document=document_shift(trials, beside[0]) if beside else NOT_MEASURED,
        salience_asked=SALIENCE in plan.families,
        salience=salience,
        beyond_salience=beyond_salience,
        within_reach=own.within_reach,
        over_pull=own.over_pull,
    )


def _salience(trials: Sequence[TrialShift], seed: int = 0) -> tuple[Interval, Interval]:
    """Under the concepts' vectors: the excess of what stands out, and by how much that of introspection is more."""
    introspection, salience, controls = (
        _distinct(
            [_answer(t, t.concept, t.shift) for t in trials if (t.family if t.family in NO_CONTROLS else "") == f]
        )
        for f in (*NO_CONTROLS, "")
    )
    if not salience:
        return NOT_MEASURED, NOT_MEASURED
    rng = own_rng(seed, SALIENCE)
    return confusion([*salience, *controls], rng=rng).excess, beyond(introspection, salience, controls, rng=rng)


def _answer(trial: TrialShift, unit: str, shift: float) -> Answer:
    """One answer as the line needs it: the shift toward yes itself, whatever a yes says."""
    known = data.answer_formats().get(trial.answer_format)
    return Answer(
        unit=unit,
        item=trial.item,
        kind=known.kind if known else trial.answer_format,
        labels=trial.answer_format,
        sign=trial.sign if trial.family in NO_CONTROLS else 0.0,
        baseline=trial.baseline,
        shift=trial.sign * shift,
    )


def _distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Each answer once: a random vector serves several concepts, with the same number each time."""
    return list({(each.unit, each.item, each.labels): each for each in answers}.values())
