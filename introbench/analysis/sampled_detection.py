"""Sampled answers, graded: hits beside false alarms, names beside guesses, and which layer and strength to look at.

A rate of hits says nothing by itself, since a model that always claims to detect something has them all. So each number
stands beside the same one without an injection, and under random vectors of the same norms. A claim counts as a
detection where a reader can follow the answer. What an answer names counts beside what its guesses would name anyway:
an answer about one concept is looked at for all other concepts as well.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.analysis.grading import Grade
from introbench.analysis.noticed import ScoredTrial
from introbench.records.arm import CONCEPT, RANDOM, SHAM
from introbench.records.sampled_factors import CHOOSE, PROTOCOLS, REPORT, Cell, SampledFactors
from introbench.stats.intervals import Interval
from introbench.stats.rates import d_prime_interval, jackknife_interval, rate_difference, rate_interval

LABELS = tuple(field.name for field in fields(Grade) if field.name != "unscored")
"""What a grade says of a text, each true or false."""


@dataclass(frozen=True)
class Answer:
    """One graded answer.

    Attributes:
        grade: What it says.
        guesses: Which of the run's concepts it names.
    """

    grade: Grade
    guesses: tuple[str, ...]

    @property
    def detects(self) -> bool:
        """Whether it claims to detect a thought, and can be followed."""
        return self.grade.claims and self.grade.coherent


@dataclass(frozen=True)
class ConceptAnswers:
    """The answers about one concept in one cell.

    Attributes:
        concept: The concept.
        others: The other concepts that results are about, which an answer might name as well.
        of: The answers by kind of arm: under its vector, random vectors, and the sham.
    """

    concept: str
    others: frozenset[str]
    of: dict[str, list[Answer]]

    def count(self, kind: str, what: Callable[[Answer], float]) -> float:
        """The sum of a number over the answers of a kind."""
        return float(sum(what(answer) for answer in self.of[kind]))

    def others_named(self, answer: Answer) -> float:
        """Share of the other concepts that an answer names."""
        return len(self.others.intersection(answer.guesses)) / len(self.others) if self.others else math.nan


@dataclass(frozen=True)
class CellResult:
    """What the answers in one cell say about some concepts; intervals are clustered by concept.

    Attributes:
        protocol: When the vector was on.
        name: Of the cell.
        cell: The layer and strength.
        concepts: Number of concepts.
        texts: Number of graded answers.
        missing: Number of answers without a grade.
        hits: Share of answers under the concept's vector that claim a detection.
        false_alarms: The same under the sham.
        random: The same under random vectors.
        above_sham: Hits minus false alarms.
        above_random: Hits minus the claims under random vectors.
        d_prime: Distance d' between hits and false alarms.
        balanced_accuracy: Mean of the hits and of the sham's answers without a claim.
        named_claims: Share of answers that claim a detection first, and name the concept.
        identified: Of the answers that claim a detection, the share that names the concept.
        by_guessing: How often these answers name any other concept, on average: what guesses would give.
        above_guessing: The first minus the second.
        identified_random: Of the claims under random vectors, the share that names the concept.
        unclaimed: Share of answers that name the concept and claim no detection, minus the sham's.
        popular: The concept that claims name most often, under any concept's vector.
        popular_share: The share of the claims that name it.
        refused: Share of answers under the vector that decline.
        refused_sham: The same under the sham.
        incoherent: Share of answers under the vector that cannot be followed.
        incoherent_sham: The same under the sham.
    """

    protocol: str
    name: str
    cell: Cell
    concepts: int
    texts: int
    missing: int
    hits: Interval
    false_alarms: Interval
    random: Interval
    above_sham: Interval
    above_random: Interval
    d_prime: Interval
    balanced_accuracy: Interval
    named_claims: Interval
    identified: Interval
    by_guessing: float
    above_guessing: Interval
    identified_random: float
    unclaimed: Interval
    popular: str
    popular_share: float
    refused: Interval
    refused_sham: Interval
    incoherent: Interval
    incoherent_sham: Interval


@dataclass(frozen=True)
class ProtocolResult:
    """What a run says under one protocol.

    Attributes:
        protocol: When vectors were on.
        best: The cell that was chosen, reported on the concepts that had no part in the choice.
        held_out: Whether there are such concepts; if not, it is reported on all of them.
        cells: Every cell, on all concepts.
        forced: Whether answers began with a claim.
        verdict: One of `VERDICTS`.
    """

    protocol: str
    best: CellResult
    held_out: bool
    cells: Sequence[CellResult]
    forced: bool

    @property
    def verdict(self) -> str:
        """What the best cell says, in a word."""
        return forced_verdict(self.best) if self.forced else verdict(self.best)


DETECTS, ANY_VECTOR, ALWAYS, NAMES_ONLY, NOTHING = "detects", "any vector", "always claims", "names only", "nothing"
VERDICTS = (DETECTS, ANY_VECTOR, ALWAYS, NAMES_ONLY, NOTHING)
"""The concept's vector is claimed more often than the sham and random vectors; than the sham alone; claims come with
and without an injection; the concept is named without a claim; none of these."""

MANY = 0.5
"""Rate of false alarms from which on a model is said to claim something whatever happens."""


def verdict(result: CellResult) -> str:
    """Which of `VERDICTS` a cell's answers give."""
    if result.above_sham.low > 0:
        return DETECTS if math.isnan(result.random.estimate) or result.above_random.low > 0 else ANY_VECTOR
    if result.false_alarms.estimate >= MANY:
        return ALWAYS
    return NAMES_ONLY if result.unclaimed.low > 0 else NOTHING


def forced_verdict(result: CellResult) -> str:
    """The same for answers that began with a claim, of which only the names count."""
    return DETECTS if result.above_guessing.low > 0 else NOTHING


def grade_record(grade: Grade) -> list[str] | None:
    """A grade as a score's metadata hold it: what is true of the text; None if it has no grade."""
    return None if grade.unscored else [label for label in LABELS if getattr(grade, label)]


def grade_of(record: Sequence[str] | None) -> Grade | None:
    """A grade from `grade_record`'s value."""
    if record is None:
        return None
    labels: dict[str, Any] = {label: label in record for label in LABELS}
    return Grade(**labels)


def results(trials: Sequence[ScoredTrial]) -> list[ProtocolResult]:
    """What a run's trials say, under each protocol; without protocols of which nothing was graded.

    Args:
        trials: For each concept and protocol its sample's metadata and its score's.
    """
    read = [(SampledFactors.from_json(metadata), exact) for metadata, exact in trials if exact]
    read.sort(key=lambda each: each[0].concept)  # the order in which trials finished must not matter
    found = []
    for protocol in PROTOCOLS:
        of_protocol = [(factors, exact) for factors, exact in read if factors.protocol == protocol]
        if not of_protocol:
            continue
        halves = {half: [each for each in of_protocol if each[0].half == half] for half in (CHOOSE, REPORT)}
        cells = of_protocol[0][0].cells
        can_hold_out = bool(halves[CHOOSE] and halves[REPORT])
        chosen = (
            max(cells, key=lambda name: _choice(halves[CHOOSE] if can_hold_out else of_protocol, name))
            if len(cells) > 1
            else next(iter(cells))
        )
        held_out = can_hold_out or len(cells) == 1
        reported = halves[REPORT] if can_hold_out and len(cells) > 1 else of_protocol
        every_cell = [cell_result(of_protocol, name) for name in cells]
        forced = bool(of_protocol[0][0].begins)
        found.append(ProtocolResult(protocol, cell_result(reported, chosen), held_out, every_cell, forced))
    return found


_Graded = Sequence[tuple[SampledFactors, Any]]


def _choice(graded: _Graded, name: str) -> float:
    """By what the best cell is chosen: balanced accuracy, or in forced answers how often the concept is named."""
    answers = _answers(graded, name)[0]
    if graded[0][0].begins:
        return _ratio([a.count(CONCEPT, _names) - a.count(CONCEPT, a.others_named) for a in answers], answers, CONCEPT)
    hits = _ratio([a.count(CONCEPT, _detects) for a in answers], answers, CONCEPT)
    alarms = _ratio([a.count(SHAM, _detects) for a in answers], answers, SHAM)
    return -math.inf if math.isnan(hits - alarms) else hits - alarms


def _ratio(counts: Sequence[float], answers: Sequence[ConceptAnswers], kind: str) -> float:
    total = sum(len(each.of[kind]) for each in answers)
    return sum(counts) / total if total else math.nan


def _answers(graded: _Graded, name: str) -> tuple[list[ConceptAnswers], int]:
    """The answers of one cell by concept, and how many have no grade."""
    found, missing = [], 0
    concepts = frozenset(factors.concept for factors, _ in graded)
    for factors, exact in graded:
        of: dict[str, list[Answer]] = {CONCEPT: [], RANDOM: [], SHAM: []}
        for arm_name, arm in factors.arms.items():
            if arm.place not in ("", name):
                continue
            for record, guesses in zip(exact["grades"][arm_name], exact["guesses"][arm_name], strict=True):
                grade = grade_of(record)
                missing += grade is None
                if grade is not None:
                    of[arm.kind].append(Answer(grade, tuple(guesses)))
        found.append(ConceptAnswers(factors.concept, concepts - {factors.concept}, of))
    return found, missing


def cell_result(graded: _Graded, name: str) -> CellResult:
    """What the answers of one cell say about some concepts.

    Args:
        graded: For each concept its factors and its score's metadata.
        name: Of the cell.
    """
    answers, missing = _answers(graded, name)
    factors = graded[0][0]

    def counts(kind: str, what: Callable[[Answer], float]) -> list[tuple[float, float]]:
        return [(each.count(kind, what), float(len(each.of[kind]))) for each in answers]

    def rate(kind: str, what: Callable[[Answer], float]) -> Interval:
        return rate_interval(*zip(*counts(kind, what), strict=True))

    def difference(kind: str, what: Callable[[Answer], float]) -> Interval:
        """The rate under the concept's vector minus that under another kind of arm, in pairs of concepts."""
        pairs = [
            [(each.count(of_kind, what), float(len(each.of[of_kind]))) for each in answers]
            for of_kind in (CONCEPT, kind)
        ]
        return rate_difference(*pairs)

    claims = np.array([each.count(CONCEPT, _detects) for each in answers])
    named = np.array([each.count(CONCEPT, lambda a: a.detects and a.grade.names) for each in answers])
    others = np.array([sum(each.others_named(a) for a in each.of[CONCEPT] if a.detects) for each in answers])

    def above_guessing(kept: NDArray[np.bool_]) -> float:
        total = claims[kept].sum()
        return float((named[kept] - others[kept]).sum() / total) if total else math.nan

    above_sham = difference(SHAM, _detects)
    guesses = Counter(guess for each in answers for a in each.of[CONCEPT] if a.detects for guess in a.guesses)
    popular, times = guesses.most_common(1)[0] if guesses else ("", 0)
    random_claims = sum(each.count(RANDOM, _detects) for each in answers)
    random_names = sum(each.count(RANDOM, lambda a: a.detects and a.grade.names) for each in answers)
    total = float(claims.sum())
    return CellResult(
        protocol=factors.protocol,
        name=name,
        cell=factors.cells[name],
        concepts=len(answers),
        texts=sum(len(texts) for each in answers for texts in each.of.values()),
        missing=missing,
        hits=rate(CONCEPT, _detects),
        false_alarms=rate(SHAM, _detects),
        random=rate(RANDOM, _detects),
        above_sham=above_sham,
        above_random=difference(RANDOM, _detects),
        d_prime=d_prime_interval(counts(CONCEPT, _detects), counts(SHAM, _detects)),
        balanced_accuracy=Interval(
            0.5 + above_sham.estimate / 2, 0.5 + above_sham.low / 2, 0.5 + above_sham.high / 2, above_sham.units
        ),
        named_claims=rate(CONCEPT, lambda a: a.detects and a.grade.claims_first),
        identified=rate_interval(named.tolist(), claims.tolist()),
        by_guessing=float(others.sum()) / total if total else math.nan,
        above_guessing=jackknife_interval(above_guessing, len(answers)),
        identified_random=random_names / random_claims if random_claims else math.nan,
        unclaimed=difference(SHAM, _names_without_claim),
        popular=popular,
        popular_share=times / total if total else math.nan,
        refused=rate(CONCEPT, lambda a: a.grade.refused),
        refused_sham=rate(SHAM, lambda a: a.grade.refused),
        incoherent=rate(CONCEPT, lambda a: not a.grade.coherent),
        incoherent_sham=rate(SHAM, lambda a: not a.grade.coherent),
    )


def _detects(answer: Answer) -> float:
    return answer.detects


def _names(answer: Answer) -> float:
    return answer.grade.names


def _names_without_claim(answer: Answer) -> float:
    return answer.grade.names and not answer.detects
