"""Where in the layers an injection shows: gaps between injected and sham, read by the logit lens after every block.

The logit lens (nostalgebraist 2020) applies the final norm and the unembedding to the residual stream after any block.
A layer that is chosen because its gap is largest looks better than it is. So the intervals hold for all layers
together, and with them for the one that was chosen, whichever it is.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.analysis.noticed import ScoredTrial
from introbench.records.arm import CONCEPT, RANDOM
from introbench.records.factors import TrialFactors
from introbench.stats.intervals import NOT_MEASURED, Interval, mean_interval, own_rng, simultaneous_intervals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LensTrial:
    """What the logit lens reads in one trial, layer by layer.

    Attributes:
        document: Document in the first turn.
        item: The question, and how it was asked.
        concept: The injected concept, or whatever else intervals are over.
        gap: Measure under the concept's vector minus the same under the sham, in nats, [layers].
        random: The same under the random vectors, on average, [layers]; NaN without any.
        curves: What else is shown by layer, by name; [layers].
    """

    document: str
    item: str
    concept: str
    gap: Array
    random: Array
    curves: Mapping[str, Array]


@dataclass(frozen=True)
class Peak:
    """The layer with the largest mean gap, and how much of the gap is left after the last layer.

    Attributes:
        document: Under which document.
        layer: The layer, with the interval of the percentile bootstrap over concepts; layers count from 0.
        gap: Gap at the peak, in nats, with an interval that holds for all layers together.
        final: Gap after the last layer: in the answer itself.
        suppression: Gap at the peak minus final gap, with such an interval: what the last layers take away.
        missing: Number of trials that were left out, see `concept_means`.
    """

    document: str
    layer: Interval
    gap: Interval
    final: Interval
    suppression: Interval
    missing: int


def concept_means(trials: Sequence[LensTrial]) -> tuple[Array, Array, dict[str, Array], int]:
    """Means over the questions that every concept was asked.

    Returns:
        Gaps [concepts, layers], gaps under random vectors [concepts, layers], the curves [layers] by name, and how many
        trials were left out because they, or another concept's on the same question, are not finite.
    """
    trials = list({(t.item, t.concept): t for t in trials}.values())  # repeated epochs give the same numbers
    finite = [t for t in trials if np.isfinite(t.gap).all()]
    concepts = sorted({t.concept for t in finite})
    answered: dict[str, set[str]] = defaultdict(set)
    for t in finite:
        answered[t.item].add(t.concept)
    kept = [t for t in finite if len(answered[t.item]) == len(concepts)]
    expected = len({t.concept for t in trials}) * len({t.item for t in trials})
    gaps, random = (
        np.array([np.mean([getattr(t, what) for t in kept if t.concept == concept], axis=0) for concept in concepts])
        if kept
        else np.empty((0, 0))
        for what in ("gap", "random")
    )
    names = kept[0].curves if kept else {}
    shown = {name: [t.curves[name] for t in kept if not np.isnan(t.curves[name]).any()] for name in names}
    curves = {name: np.mean(by_trial, axis=0) for name, by_trial in shown.items() if by_trial}
    return gaps, random, curves, expected - len(kept)


def peak(document: str, trials: Sequence[LensTrial], *, seed: int = 0, resamples: int = 4000) -> Peak:
    """Find the layer at which the gap is largest.

    Args:
        document: Which document's trials these are.
        trials: All of them.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples.
    """
    gaps, _, _, missing = concept_means(trials)
    rng = own_rng(seed, document)
    units = len(gaps)
    if units == 0:
        return Peak(document, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, missing)
    layer = int(gaps.mean(axis=0).argmax())
    weights = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
    low, high = np.quantile((weights @ gaps).argmax(axis=1), [0.025, 0.975], method="inverted_cdf")
    if units == 1:
        low = high = math.nan
    return Peak(
        document,
        Interval(float(layer), float(low), float(high), units),
        simultaneous_intervals(gaps, rng=rng)[layer],
        mean_interval(gaps[:, -1], rng=rng),
        simultaneous_intervals(gaps - gaps[:, -1:], rng=rng)[layer],
        missing,
    )


def by_document(trials: Sequence[LensTrial], documents: Sequence[str]) -> dict[str, list[LensTrial]]:
    """The trials of each document, sorted: the order in which they finished must not matter."""
    ordered = sorted(trials, key=lambda t: (t.item, t.concept))
    return {document: [t for t in ordered if t.document == document] for document in documents}


def lens_trial(scored: ScoredTrial) -> LensTrial:
    """One trial's lens from its sample's metadata and its score's."""
    factors, exact = TrialFactors.from_json(scored[0]), scored[1]
    question = factors.question
    gaps = {arm: np.array(values) for arm, values in exact.get("gaps", {}).items()}
    item = f"{question.question} {question.answer_format}"
    return lens_trial_of(question.document, item, factors, gaps, _curves(exact, question.reversed))


def lens_trial_of(
    document: str, item: str, factors: TrialFactors, gaps: Mapping[str, Array], curves: Mapping[str, Array]
) -> LensTrial:
    """A trial's lens from the gap of every arm after every block.

    Args:
        document: Document in the first turn.
        item: The question.
        factors: The trial's factors.
        gaps: For every arm its distance from the sham after every block, in nats, [layers]; empty if it is not finite.
        curves: What else is shown after every block.
    """
    gap = gaps.get(CONCEPT, np.array([math.nan]))
    random = [gaps[name] for name, arm in factors.arms.items() if arm.kind == RANDOM and name in gaps]
    return LensTrial(
        document=document,
        item=item,
        concept=factors.concept,
        gap=gap,
        random=np.mean(random, axis=0) if random else np.full_like(gap, math.nan),
        curves=dict(curves),
    )


def _curves(exact: Mapping[str, Any], is_reversed: bool) -> dict[str, Any]:
    """P(yes) after every block; on reversed questions a yes says that nothing was noticed, so they are left out."""
    if "p_yes" not in exact:
        return {}
    p_yes = {arm: np.array(values) * (math.nan if is_reversed else 1.0) for arm, values in exact["p_yes"].items()}
    return {"P(yes) sham": p_yes["sham"], "P(yes) injected": p_yes["concept"]}
