"""Was the information there to report? A linear probe of the model's states, beside what the model itself says.

States come in a grid: items (questions, or documents) by vectors, and beside each item the state under the sham. A
vector on an item is scored by a probe that was trained on the other concepts and on the other items, and so is that
item's sham: neither has been seen in any form. Leaving out less would flatter. With the held-out sham among the
training states, the probe leans away from that sham's own noise; with the concept on other items, toward a direction
that only this concept has. Random vectors are scored by a probe trained on all concepts, and on the other items.

The probe is Fisher's linear discriminant with a ridge (Friedman 1989): w = (S + s I)^-1 (m1 - m0), of the class means
m and the covariance S within classes. Each class counts for one half in S, although there are many injected states for
one sham. With some 50 states in hundreds or thousands of dimensions S alone has no inverse, and nearly none would fit
noise; without S, whatever differs most between items would drown the rest. The ridge s is the mean of those
eigenvalues of S that are not 0: directions in which a class varies more than on average are turned down, and the
others left as the means have them. It is fixed by the training states, with nothing to tune. All of it is inner
products, so it is computed from the Gram matrix of the states, in float64, and rotating or moving all states changes
nothing.

The measure is AUROC: how often an injected state scores above a sham, ties counting one half, so that chance is 0.5
whatever the threshold. It is computed alike from the probe's scores and from the model's report, its log-odds signed
toward "noticed", and compared with two sets of shams:

* `same`: the sham of the same item. The report has a bias of its own on every wording, which this takes away, as the
  shifts of all other tasks do; the headline.
* `any`: the shams of all items. One threshold for all wordings, as for somebody who has seen no sham: stricter to both.

Questions on which a no says "noticed" count as much as the others, all together, so that in `same` a push toward yes is
at chance. In `any` it is so only where plain and reversed questions lie alike without injection; elsewhere a push alone
can put a report a little above or below it (0.56 for 1 nat, in one simulation). Flattening is at chance in neither: it
moves reports toward "noticed" as well, so that a report above chance is no introspection by itself; see
`introbench.analysis.contrasts`.

Concepts are the units of intervals. They are each other's training states as well: where nothing is there, a score is a
mean over pairs of concepts, of which each counts twice, so that the variance is twice what the scores' spread suggests
(a degenerate U-statistic; Hoeffding 1948). Intervals of the probe on concepts allow for that, which is generous where
something is there.

A linear probe says what is there at least. Which layer has most must not be picked by the scores that are reported:
the last one, from which the answer itself is read, is the headline, and the mean of all that can differ from the
sham's stands beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.stats.intervals import NOT_MEASURED, Interval, mean_interval

Array = NDArray[np.float64]

Rows = NDArray[np.intp]
"""Rows of a matrix of states."""

CHANCE = 0.5
"""AUROC of scores that tell nothing."""

COMPARISONS = ("same", "any")
"""Which shams an injected state is compared with: that of its own item, or those of all items."""

TIE = 1e-6
"""Distance below which two scores are equal: about the precision of log-odds in float32."""

NO_DIFFERENCE = 1e-6
"""Distance between the class means, as a share of the states' norm, below which it is rounding of float32."""


@dataclass(frozen=True)
class States:
    """Residual streams in a grid.

    Attributes:
        injected: [layers, items, vectors, hidden]; concepts first, then random vectors.
        sham: [layers, items, shams, hidden]; more than one where not all vectors fit a batch.
        beside: For each vector, the sham that ran in its batch.
        concepts: How many of the vectors are concepts'.
    """

    injected: NDArray[np.floating]
    sham: NDArray[np.floating]
    beside: Sequence[int]
    concepts: int


@dataclass(frozen=True)
class Scores:
    """Scores of injected states, and of the shams beside them by the same probe; NaN where a number is not finite.

    Attributes:
        injected: [layers, vectors, items].
        sham: [layers, vectors, items].
    """

    injected: Array
    sham: Array


@dataclass(frozen=True)
class Detection:
    """How well injections are told from shams, with vectors as units.

    Attributes:
        probe: AUROC of the probe.
        report: AUROC of the model's report.
        recovered: (report - 0.5) / (probe - 0.5); NaN where that ratio says nothing.
        reason: Why it says nothing, or empty.
    """

    probe: Interval
    report: Interval
    recovered: Interval
    reason: str


def held_out_scores(states: States, items: Sequence[int] | None = None) -> Scores:
    """Score every vector on every item, and the sham beside it, by probes that have seen neither.

    Items whose sham is not finite are left out, and so are vectors that are not finite on one of the others.

    Args:
        states: What the probes read.
        items: Which items are scored; all of them by default. The others are trained on only.

    Returns:
        Scores in units of the distance between the training classes: -0.5 is the mean sham, 0.5 the mean injected
        state. NaN for what was left out, and for everything if fewer than two items, or too few concepts, are left.
    """
    layers, count, vectors, hidden = states.injected.shape
    shams = states.sham.shape[2]
    kept_items = np.isfinite(states.sham).all(axis=(0, 2, 3)).nonzero()[0]
    kept = np.isfinite(states.injected[:, kept_items]).all(axis=(0, 1, 3)).nonzero()[0]
    row = np.arange(count * (vectors + shams)).reshape(count, vectors + shams)
    scored = range(count) if items is None else items
    injected, sham = (np.full((layers, vectors, len(scored)), math.nan) for _ in range(2))
    concepts = kept[kept < states.concepts]
    folds = [(np.array([vector]), concepts[concepts != vector]) for vector in concepts]
    folds.append((kept[kept >= states.concepts], concepts))
    for layer in range(layers):
        flat = np.concatenate([states.injected[layer], states.sham[layer]], axis=1).reshape(-1, hidden).astype(float)
        used = np.concatenate([row[kept_items][:, kept].ravel(), row[kept_items][:, vectors:].ravel()])
        gram, floor = _gram(flat, used)
        for column, item in enumerate(scored):
            others = kept_items[kept_items != item]
            if item not in kept_items or not others.size:
                continue
            for tested, trained in folds:
                if not tested.size or not trained.size:
                    continue
                beside = vectors + np.array(states.beside)[tested]
                scores = fold_scores(
                    gram,
                    row[np.ix_(others, trained)].ravel(),
                    row[others, vectors:].ravel(),
                    np.concatenate([row[item, tested], row[item, beside]]),
                    floor,
                )
                injected[layer, tested, column], sham[layer, tested, column] = np.split(scores, 2)
    return Scores(injected, sham)


def fold_scores(gram: Array, injected: Rows, sham: Rows, tested: Rows, floor: float = 0.0) -> Array:
    """Train a probe on some states and score others.

    Args:
        gram: Inner products of all states, [states, states].
        injected: Rows of the training states that are injected.
        sham: Rows of those that are not.
        tested: Rows to score.
        floor: Squared distance of the class means up to which they are equal, so that all scores are 0.

    Returns:
        [tested], in units of the distance between the class means.
    """
    train, split = np.concatenate([injected, sham]), len(injected)
    inner, cross = gram[np.ix_(train, train)], gram[np.ix_(tested, train)]

    def between(products: Array) -> Array:
        return np.asarray(products[:, :split].mean(axis=1) - products[:, split:].mean(axis=1))

    def within(products: Array) -> Array:
        """Products with the training states, each as seen from its class mean, and with its weight."""
        return np.concatenate(
            [
                (part - part.mean(axis=1, keepdims=True)) / math.sqrt(2 * part.shape[1])
                for part in (products[:, :split], products[:, split:])
            ],
            axis=1,
        )

    distance = between(between(inner)[None])[0]
    if not distance > floor:
        return np.zeros(len(tested))
    scatter = within(within(inner).T)
    # Without any spread within classes every ridge gives the difference of the means.
    ridge = np.trace(scatter) / max(1, len(train) - 2) or 1.0
    solved = np.linalg.solve(scatter + ridge * np.eye(len(train)), within(between(inner)[None])[0])
    of_train, of_tested = between(inner) - within(inner) @ solved, between(cross) - within(cross) @ solved
    centres = of_train[:split].mean(), of_train[split:].mean()
    return (of_tested - (centres[0] + centres[1]) / 2) / (centres[0] - centres[1])


def aurocs(scores: Scores, weights: Array, comparison: str) -> Array:
    """AUROC of each vector against the shams.

    Args:
        scores: Of the probe, or the report's as those of a single layer.
        weights: How much each item counts, [items].
        comparison: One of `COMPARISONS`.

    Returns:
        [layers, vectors]; NaN where nothing is finite.
    """
    finite = np.isfinite(scores.injected) & np.isfinite(scores.sham)
    counts = np.where(finite, weights, 0.0)
    if comparison == "same":
        won, pairs = _won(scores.injected, scores.sham), counts
    else:
        won = _won(scores.injected[..., :, None], scores.sham[..., None, :])
        pairs = counts[..., :, None] * counts[..., None, :]
    axes = tuple(range(2, won.ndim))
    total = pairs.sum(axis=axes)
    share = (np.where(pairs > 0, won, 0.0) * pairs).sum(axis=axes) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, share, math.nan)


def balanced_weights(is_reversed: Sequence[bool]) -> Array:
    """Weights of questions, so that plain and reversed ones count alike, all together; they add up to 1."""
    kinds = np.array(is_reversed)
    masks = [kinds == kind for kind in np.unique(kinds)]
    return np.asarray(sum(mask / mask.sum() for mask in masks) / len(masks))


def as_units(probe: Array) -> Array:
    """AUROCs of concepts, [concepts, ...], spread about their mean as widely as their interval has to allow for."""
    return probe.mean(axis=0) + math.sqrt(2) * (probe - probe.mean(axis=0))


def clipped(interval: Interval) -> Interval:
    """An interval with its ends between 0 and 1, where an AUROC lies."""
    low, high = (float(np.clip(end, 0.0, 1.0)) for end in (interval.low, interval.high))
    return Interval(interval.estimate, low, high, interval.units)


def detection(probe: Array, report: Array, rng: np.random.Generator, *, are_concepts: bool) -> Detection:
    """How well vectors are told from shams, by a probe and in the report.

    The interval of what is recovered is that of a ratio of two means over the same units: the studentised bootstrap of
    its linearisation, which asks for a denominator that is not near 0.

    Args:
        probe: AUROC of each vector by the probe, [vectors]; NaN where there is none.
        report: AUROC of each vector in the report, [vectors].
        rng: Source of randomness.
        are_concepts: Whether the probe was trained on these vectors, each on the others.
    """
    kept = np.isfinite(probe) & np.isfinite(report)
    above, reported = probe[kept], report[kept]
    units = as_units(above) if are_concepts and above.size else above
    of_probe, of_report = clipped(mean_interval(units, rng=rng)), clipped(mean_interval(reported, rng=rng))
    reason = _nothing_to_recover(of_probe)
    if reason:
        return Detection(of_probe, of_report, NOT_MEASURED, reason)
    reach = above.mean() - CHANCE
    ratio = (reported.mean() - CHANCE) / reach
    linear = ratio + (reported - CHANCE - ratio * (above - CHANCE)) / reach
    return Detection(of_probe, of_report, mean_interval(linear, rng=rng), "")


def _nothing_to_recover(probe: Interval) -> str:
    """Why a share of what the probe detects would say nothing, or an empty text."""
    if probe.units < 2:
        return "fewer than two vectors"
    return "" if probe.low > CHANCE else "the probe is not above chance"


def _won(injected: Array, sham: Array) -> Array:
    """1 where the injected state scores higher, 0 where the sham does, one half where they are equal."""
    apart = injected - sham
    return np.where(np.abs(apart) <= TIE, 0.5, (apart > 0).astype(float))


def _gram(states: Array, used: Rows) -> tuple[Array, float]:
    """Inner products of states as seen from their mean, and the squared distance that float32 cannot tell from 0."""
    floor = float(NO_DIFFERENCE**2 * np.square(states[used]).sum(axis=1).mean()) if used.size else 0.0
    moved = np.zeros_like(states)
    moved[used] = states[used] - states[used].mean(axis=0)
    return moved @ moved.T, floor


def scores_of(recorded: Mapping[str, Any]) -> Scores:
    """Scores from their JSON."""
    return Scores(np.array(recorded["injected"], dtype=float), np.array(recorded["sham"], dtype=float))


def json_lists(values: Array) -> Any:
    """Nested lists, with None where a number is not finite: JSON has no NaN."""
    written = values.astype(object)
    written[~np.isfinite(values)] = None
    return written.tolist()
