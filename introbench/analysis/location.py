"""Does a model say where a thought was placed? From the changes of label log-probabilities to scores and contrasts.

A trial asks one question whose options are places, after thoughts at every one of these places in turn. What the model
prefers without any thought is subtracted, so its answer is the place whose label gains most. Within a trial every place
is right once: a model that prefers a label or a place, or ignores thoughts, is right in exactly one of n cases. A push
that is the same for thoughts at all places can hide a smaller trace of the place from the accuracy, but not from the
nats.

Two things that are not introspection could still make answers depend on the place: a thought may make a sentence stand
out in any question about sentences, and any vector may do so. What counts, therefore, is a difference of differences:
by how much questions that only the model's state can answer are answered better than other questions with the same
options after the same thoughts, and how much more so under concepts' vectors than under random ones. What a wording
does under any vector, and what a vector does to any question, cancels in it. The two differences that it is made of
stand beside it.

Intervals take concepts for random draws, and neither passages nor wordings, of which there are too few.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from introbench.analysis.noticed import ScoredTrial
from introbench.records.factors import Plan, TrialFactors
from introbench.stats.intervals import Interval, difference_interval, mean_interval, own_rng
from introbench.stats.simultaneous import excludes_zero, hold_together

TIE = 1e-5
"""Nats within which two changes are equal: log-probabilities are read in float32."""

Scores = tuple[float, float]
"""Accuracy, and the graded score in nats."""

NOT_KNOWN: Scores = (math.nan, math.nan)
"""Scores of an arm without finite numbers."""


@dataclass(frozen=True)
class LocationTrial:
    """One trial: a question, after thoughts about one concept at every place.

    Attributes:
        part: What kind of place is asked for.
        introspective: Whether only the model's state can answer.
        item: Passage, wording and order of the labels.
        concept: The concept.
        scores: Accuracy and nats for the concept's vector and for the random one (`concept`, `random`), averaged over
            places; NaN where an arm has no finite numbers.
    """

    part: str
    introspective: bool
    item: str
    concept: str
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class LocationResult:
    """One score or contrast of a part.

    Attributes:
        part: The part.
        name: What is compared with what.
        chance: Accuracy of a model that ignores thoughts; 0 for contrasts.
        accuracy: Share of right places, or difference of such shares.
        nats: By how much the right place gains more than the others do on average.
        trials: Number of trials that it rests on.
        missing: Number of trials that were lost, not finite, or ask what was lost for another concept.
        is_marked: Whether accuracy or nats of a headline differ from 0 with the headlines of all parts taken together.
    """

    part: str
    name: str
    chance: float
    accuracy: Interval
    nats: Interval
    trials: int
    missing: int
    is_marked: bool = False

    @property
    def is_headline(self) -> bool:
        """Whether this is the score that counts."""
        return self.name == HEADLINE

    @property
    def is_contrast(self) -> bool:
        """Whether this is a difference of scores."""
        return self.name in CONTRASTS


HEADLINE = "(introspective - other), concept - random"
"""The score that counts: how much larger the gain of introspective questions is under concepts than random vectors."""

CONTRASTS = (HEADLINE, "introspective - other", "concept - random")
"""All contrasts: the second is under concepts' vectors, the third on introspective questions."""


def placed(changes: Mapping[str, float], right: str) -> Scores:
    """Score one answer.

    Args:
        changes: By how many nats the log-probability of each place's label changed.
        right: Where the thought was.

    Returns:
        1 if the right place gained most, shared among places that gained as much, or else 0; and how much more it
        gained than the others on average, in nats.
    """
    most = max(changes.values())
    ties = [place for place, change in changes.items() if change >= most - TIE]
    others = [change for place, change in changes.items() if place != right]
    graded = math.fsum(changes[right] - other for other in others) / len(others)
    return (1 / len(ties) if right in ties else 0.0), graded


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean accuracy and mean graded score."""
    accuracies, graded = zip(*scores, strict=True)
    return math.fsum(accuracies) / len(scores), math.fsum(graded) / len(scores)


def location_results(
    trials: Iterable[LocationTrial], options: Mapping[str, int], *, seed: int = 0
) -> list[LocationResult]:
    """Scores and contrasts of every part.

    Args:
        trials: All trials of a run, or of the part that has finished, in any order.
        options: The number of places of each part that the run set out to ask.
        seed: Seed of the bootstrap.
    """
    collapsed = _collapsed(trials)
    comparisons = [
        comparison
        for part, count in options.items()
        for comparison in _of_part(part, 1 / count, [t for t in collapsed if t.part == part])
    ]
    results = [comparison.result(seed) for comparison in comparisons]
    headlines = [result for result in results if result.is_headline]
    together = hold_together([interval for result in headlines for interval in (result.accuracy, result.nats)])
    marked = {
        result.part: any(map(excludes_zero, together[2 * number : 2 * number + 2]))
        for number, result in enumerate(headlines)
    }
    return [replace(result, is_marked=result.is_headline and marked[result.part]) for result in results]


@dataclass(frozen=True)
class _Cell:
    """The scores of one kind of question under one kind of vector.

    Attributes:
        means: Accuracy and nats of each concept, [2].
        trials: Number of trials that they rest on.
        missing: Number of trials that were left out.
    """

    means: Mapping[str, np.ndarray]
    trials: int
    missing: int

    @classmethod
    def of(cls, trials: Sequence[LocationTrial], vector: str) -> "_Cell":
        """The trials that leave every concept with the same items; a concept without any is left out first."""
        finite = {(t.item, t.concept): t.scores[vector] for t in trials if _is_finite(t, vector)}
        concepts = {concept for _, concept in finite}
        answered: dict[str, set[str]] = defaultdict(set)
        for item, concept in finite:
            answered[item].add(concept)
        items = [item for item in sorted(answered) if answered[item] == concepts]
        means = {
            concept: np.array(mean_scores([finite[item, concept] for item in items]))
            for concept in sorted(concepts)
            if items
        }
        expected = len({t.item for t in trials}) * len({t.concept for t in trials})
        return cls(means, len(items) * len(means), expected - len(items) * len(means))

    def minus(self, other: "_Cell") -> "_Cell":
        """Paired differences, by concept."""
        both = [concept for concept in self.means if concept in other.means]
        differences = {concept: self.means[concept] - other.means[concept] for concept in both}
        return _Cell(differences, self.trials + other.trials, self.missing + other.missing)

    def values(self, column: int) -> list[float]:
        """One number per concept."""
        return [float(mean[column]) for mean in self.means.values()]


@dataclass(frozen=True)
class _Comparison:
    """A score or contrast of a part before its intervals are made.

    Attributes:
        part: The part.
        name: What is compared with what.
        chance: Accuracy of a model that ignores thoughts.
        cell: Scores, or paired differences, by concept.
        against: The same of another population of vectors, which is taken away; None if there is none.
    """

    part: str
    name: str
    chance: float
    cell: _Cell
    against: _Cell | None = None

    def interval(self, column: int, seed: int) -> Interval:
        """The interval of accuracy (column 0) or nats (column 1)."""
        rng = own_rng(seed, self.part, self.name, str(column))
        if self.against is None:
            return mean_interval(self.cell.values(column), rng=rng)
        return difference_interval(self.cell.values(column), self.against.values(column), rng=rng)

    def result(self, seed: int) -> LocationResult:
        """The score or contrast with its intervals."""
        return LocationResult(
            part=self.part,
            name=self.name,
            chance=self.chance,
            accuracy=self.interval(0, seed),
            nats=self.interval(1, seed),
            trials=self.cell.trials + (self.against.trials if self.against else 0),
            missing=self.cell.missing + (self.against.missing if self.against else 0),
        )


def _of_part(part: str, chance: float, trials: Sequence[LocationTrial]) -> list[_Comparison]:
    """The contrasts of one part, and the scores that they are made of."""
    concept, random, concept_other, random_other = (
        _Cell.of([t for t in trials if t.introspective == introspective], vector)
        for introspective in (True, False)
        for vector in ("concept", "random")
    )
    difference, random_difference = concept.minus(concept_other), random.minus(random_other)
    between_both, between_questions, between_vectors = CONTRASTS
    return [
        _Comparison(part, between_both, 0.0, difference, random_difference),
        _Comparison(part, between_questions, 0.0, difference),
        _Comparison(part, between_vectors, 0.0, concept, random),
        _Comparison(part, "introspective, concept", chance, concept),
        _Comparison(part, "other, concept", chance, concept_other),
        _Comparison(part, "introspective, random", chance, random),
        _Comparison(part, "other, random", chance, random_other),
    ]


def _is_finite(trial: LocationTrial, vector: str) -> bool:
    return all(map(math.isfinite, trial.scores.get(vector, NOT_KNOWN)))


def _collapsed(trials: Iterable[LocationTrial]) -> list[LocationTrial]:
    """One entry per trial, sorted, with repeated epochs averaged over the finite ones."""
    repeats: dict[tuple[str, bool, str, str], list[LocationTrial]] = defaultdict(list)
    for t in trials:
        repeats[t.part, t.introspective, t.item, t.concept].append(t)
    return [
        LocationTrial(
            *identity,
            {
                vector: mean_scores(sorted(t.scores[vector] for t in same if _is_finite(t, vector)) or [NOT_KNOWN])
                for vector in ("concept", "random")
            },
        )
        for identity, same in sorted(repeats.items())
    ]


def location_trial(scored: ScoredTrial) -> LocationTrial:
    """One trial, from its sample's metadata and its score's."""
    factors, exact = TrialFactors.from_json(scored[0]), scored[1]
    place = factors.place
    return LocationTrial(
        part=place.part,
        introspective=place.kind == "introspective",
        item=place.item,
        concept=factors.concept,
        scores={kind: (accuracy, nats) for kind, (accuracy, nats) in exact.get("scores", {}).items()},
    )


def planned_parts(plan: Plan) -> dict[str, int]:
    """The number of places of each part that the run set out to ask."""
    parts: dict[str, int] = plan.more["parts"]
    return parts
