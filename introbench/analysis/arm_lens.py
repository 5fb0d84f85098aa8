"""In which layers each arm of a model swap moves the answer, by the logit lens; see `introbench.analysis.logit_lens`.

The statistics are those of the logit lens task, with questions in the place of concepts, since there is one fine-tune.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.logit_lens import Array, LensTrial, Peak, peak
from introbench.analysis.model_swap import compared_arms, shifts_toward_yes
from introbench.analysis.noticed import ScoredTrial, read_trials
from introbench.records.arm import RANDOM
from introbench.records.factors import TrialFactors

Cell = tuple[str, str]
"""An arm and a document."""

SHAM_CURVE = "P(yes) sham"


def exact_lens(factors: TrialFactors, readings: Mapping[str, ArmReading]) -> dict[str, dict[str, list[float]]]:
    """What a score's metadata hold of a trial's lens; `arm_lenses` reads it.

    Args:
        factors: The trial's factors.
        readings: The arms whose numbers are finite, by name, the sham among them.

    Returns:
        `gaps`: for every arm that is compared with the sham the shift after every block, in nats, positive where it
        says "noticed". `p_yes`: P(yes) after every block, for the sham as well. Random vectors are averaged as
        `random`. An arm that is not finite is left out.
    """
    log_odds = [reading.log_odds_by_layer for reading in readings.values()]
    shifts = [
        shifts_toward_yes(factors.arms, dict(zip(readings, in_layer, strict=True)))
        for in_layer in zip(*log_odds, strict=True)
    ]
    gaps = {arm: [factors.question.side * shift[arm] for shift in shifts] for arm in compared_arms(factors.arms)}
    gaps = {arm: values for arm, values in gaps.items() if np.isfinite(values).all()}
    p_yes = {name: np.exp(reading.lens["yes"]) for name, reading in readings.items()}
    if RANDOM in gaps:
        p_yes[RANDOM] = np.mean([p_yes[name] for name, arm in factors.arms.items() if arm.kind == RANDOM], axis=0)
    return {"gaps": gaps, "p_yes": {arm: p_yes[arm].tolist() for arm in ("sham", *gaps)}}


def arm_lenses(trials: Sequence[ScoredTrial]) -> dict[Cell, list[LensTrial]]:
    """What the lens reads under every arm and document: one entry for each question, formats averaged.

    Args:
        trials: For each trial its sample's metadata and its score's.

    Returns:
        Arms under the reference document first; empty if no trial was to be read after every block. A question of which
        a trial has no finite numbers is not finite.
    """
    read = [(factors, exact) for factors, exact in read_trials(trials) if factors.answers.get("lens")]
    if not read:
        return {}
    arms, documents = compared_arms(read[0][0].arms), read[0][0].plan.ordered_documents
    asked: dict[tuple[str, str], dict[str, tuple[TrialFactors, Mapping[str, Any]]]] = defaultdict(dict)
    for factors, exact in read:  # repeated epochs give the same numbers
        asked[factors.question.document, factors.question.question][factors.question.answer_format] = factors, exact
    return {
        (arm, document): [
            _of_question(arm, document, question, [of_formats[name] for name in sorted(of_formats)])
            for (under, question), of_formats in sorted(asked.items())
            if under == document
        ]
        for document in documents
        for arm in arms
    }


def lens_peak(cell: Cell, of_cell: Sequence[LensTrial]) -> Peak:
    """The layer of the largest gap under an arm and a document, and how much of the gap is left in the answer."""
    return peak(" | ".join(cell), of_cell)


def _of_question(
    arm: str, document: str, question: str, trials: Sequence[tuple[TrialFactors, Mapping[str, Any]]]
) -> LensTrial:
    lenses = [exact.get("lens", {}) for _, exact in trials]
    gap = _mean([lens.get("gaps", {}).get(arm) for lens in lenses])
    random = _mean([lens.get("gaps", {}).get(RANDOM) for lens in lenses])
    # On a reversed question a yes says that nothing was noticed, so its curves are no part of the mean.
    is_shown = np.isfinite(gap).all() and not any(factors.question.reversed for factors, _ in trials)
    curves = {
        name: _mean([lens["p_yes"][of_arm] for lens in lenses]) if is_shown else np.full_like(gap, math.nan)
        for name, of_arm in ((SHAM_CURVE, "sham"), (f"P(yes) {arm}", arm))
    }
    return LensTrial(
        document=document,
        item="",
        concept=question,
        gap=gap,
        random=random if random.shape == gap.shape else np.full_like(gap, math.nan),
        curves=curves,
    )


def _mean(values: Sequence[Sequence[float] | None]) -> Array:
    """The mean over formats, [layers]; NaN alone if one was not finite."""
    known = [value for value in values if value is not None]
    return np.mean(np.array(known), axis=0) if known and len(known) == len(values) else np.array([math.nan])
