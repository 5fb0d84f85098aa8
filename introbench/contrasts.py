"""From the shifts of single trials to the experiment's results: means, contrasts and their intervals.

A shift is the log-odds of yes under an injection minus the log-odds under the sham, of the same tokens. Concepts are
the exchangeable units: questions, formats and documents are fixed by design, so they are averaged within a concept
first, and concepts are resampled. Random vectors are a second population with units of its own.

On a reversed introspection question a no says that something was noticed, so its shift is counted with the sign
turned. A push toward yes then raises some introspection questions and lowers others. For a control family to stand
for that push, its shift is given the same signs: the contrast is the mean of sign x (introspection toward yes -
control toward yes). A model that only says yes more often scores 0 on it, whatever the share of reversed questions.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tabulate import tabulate

from introbench.data import FAMILIES, documents
from introbench.stats import Interval, difference_interval, mean_interval

REFERENCE_DOCUMENT = "info"


@dataclass(frozen=True)
class TrialShift:
    """One trial's shifts, signed so that "noticed" is positive on introspection questions.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: Question and answer format.
        concept: The injected concept.
        sign: -1 if a no says that something was noticed, else +1; it is already in the shifts.
        shift: Shift under the concept's vector, in nats; NaN if the trial has no finite numbers.
        random: Shifts under the random vectors, by vector; NaN likewise.
    """

    document: str
    family: str
    item: str
    concept: str
    sign: float
    shift: float
    random: dict[str, float]


@dataclass(frozen=True)
class Result:
    """One mean or contrast.

    Attributes:
        name: What is compared with what, e.g. `introspection - always_no`.
        document: Under which document; empty if documents are compared.
        interval: Estimate and 95% interval, in nats.
        pairs: Number of pairs behind it: trials against their sham, or matched trials.
        missing: Number of trials that belong to it but had no finite number or no partner.
    """

    name: str
    document: str
    interval: Interval
    pairs: int
    missing: int

    @property
    def key(self) -> str:
        """Name and document in one string."""
        return f"{self.name} | {self.document}" if self.document else self.name


def mean_shifts(trials: Sequence[TrialShift], *, seed: int = 0) -> list[Result]:
    """Mean shift for every document and question family."""
    trials = _ordered(trials)
    results = []
    for document in _documents(trials):
        for family in _families(trials):
            here = [t for t in trials if t.document == document and t.family == family]
            by_concept = _concept_means(here)
            missing = sum(math.isnan(t.shift) for t in here)
            result = _result((family, document), _paired(list(by_concept.values())), len(here) - missing, missing, seed)
            results.append(result)
    return results


def contrasts(trials: Sequence[TrialShift], *, seed: int = 0) -> list[Result]:
    """Introspection against every control: question families, documents, and random vectors.

    Args:
        trials: All trials of a run, or of the part that has finished.
        seed: Seed of the bootstrap.
    """
    trials = _ordered(trials)
    present = _documents(trials)
    results = [
        _against_family(trials, document, family, seed)
        for document in present
        for family in _families(trials)
        if family != "introspection"
    ]
    if REFERENCE_DOCUMENT in present:
        results += [_against_document(trials, other, seed) for other in present if other != REFERENCE_DOCUMENT]
    results += [_against_random(trials, document, seed) for document in present]
    return results


def _against_family(trials: Sequence[TrialShift], document: str, family: str, seed: int) -> Result:
    """Difference in differences, paired within a concept, with the control's shift signed as the questions are."""
    sides = [[t for t in trials if t.document == document and t.family == f] for f in ("introspection", family)]
    first, second = (_concept_means(side) for side in sides)
    signs = _concept_means([replace(t, shift=t.sign) for t in sides[0] if not math.isnan(t.shift)])
    shared = [concept for concept in first if concept in second]
    missing = sum(math.isnan(t.shift) for side in sides for t in side) + len(first) + len(second) - 2 * len(shared)
    differences = [first[concept] - signs[concept] * second[concept] for concept in shared]
    return _result((f"introspection - {family}", document), _paired(differences), len(shared), missing, seed)


def _against_document(trials: Sequence[TrialShift], other: str, seed: int) -> Result:
    """The same questions about the same concepts under two documents, paired trial by trial."""
    sides = [
        {(t.concept, t.item): t.shift for t in trials if t.document == document and t.family == "introspection"}
        for document in (REFERENCE_DOCUMENT, other)
    ]
    by_concept: dict[str, list[float]] = defaultdict(list)
    missing = 0
    for pair in dict.fromkeys([*sides[0], *sides[1]]):
        difference = sides[0].get(pair, math.nan) - sides[1].get(pair, math.nan)
        if math.isnan(difference):
            missing += 1
        else:
            by_concept[pair[0]].append(difference)
    means = [float(np.mean(values)) for values in by_concept.values()]
    pairs = sum(map(len, by_concept.values()))
    return _result((f"{REFERENCE_DOCUMENT} - {other}", ""), _paired(means), pairs, missing, seed)


def _against_random(trials: Sequence[TrialShift], document: str, seed: int) -> Result:
    """Concept vectors against random ones on the same questions: two populations of vectors."""
    here = [t for t in trials if t.document == document and t.family == "introspection"]
    complete = [t for t in here if t.random and not math.isnan(t.shift + sum(t.random.values()))]
    by_vector: dict[str, dict[str, float]] = defaultdict(dict)
    for trial in complete:  # a random vector serves several concepts, with the same number each time
        for vector, shift in trial.random.items():
            by_vector[vector][trial.item] = shift
    concept_means = list(_concept_means(complete).values())
    random_means = [float(np.mean(list(shifts.values()))) for shifts in by_vector.values()]

    def interval(rng: np.random.Generator) -> Interval:
        return difference_interval(concept_means, random_means, rng=rng)

    return _result(("concept - random vector", document), interval, len(complete), len(here) - len(complete), seed)


def _concept_means(trials: Iterable[TrialShift]) -> dict[str, float]:
    """Mean shift per concept over its finite trials."""
    shifts: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        if not math.isnan(trial.shift):
            shifts[trial.concept].append(trial.shift)
    return {concept: float(np.mean(values)) for concept, values in shifts.items()}


def _paired(differences: Sequence[float]) -> Callable[[np.random.Generator], Interval]:
    return lambda rng: mean_interval(differences, rng=rng)


def _result(
    what: tuple[str, str], interval: Callable[[np.random.Generator], Interval], pairs: int, missing: int, seed: int
) -> Result:
    """Compute an interval with randomness of its own, so that no result depends on which others are computed."""
    digest = hashlib.sha256("|".join(what).encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    return Result(*what, interval(rng), pairs, missing)


def _ordered(trials: Iterable[TrialShift]) -> list[TrialShift]:
    """Trials in an order of their own, not that in which they finished: sums round the same way in every run."""
    return sorted(trials, key=lambda t: (t.document, t.family, t.item, t.concept))


def _documents(trials: Iterable[TrialShift]) -> list[str]:
    present = {t.document for t in trials}
    order = sorted(documents(), key=lambda name: name != REFERENCE_DOCUMENT)  # the reference first
    shipped = [document for document in order if document in present]
    return shipped + sorted(present.difference(shipped))


def _families(trials: Iterable[TrialShift]) -> list[str]:
    present = {t.family for t in trials}
    return [family for family in FAMILIES if family in present]


def results_table(results: Sequence[Result]) -> str:
    """Plain-text table of results, in nats."""
    rows = [
        [
            result.document,
            result.name,
            _number(result.interval.estimate),
            _bounds(result.interval),
            result.pairs,
            result.missing or "",
        ]
        for result in results
    ]
    headers = ["document", "shift in log-odds (nats)", "mean", "95% interval", "pairs", "missing"]
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=("left",) * 2 + ("right",) * 4)


def _number(value: float) -> str:
    return "no pairs" if math.isnan(value) else f"{value:+.3f}"


def _bounds(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "needs 2 or more units" if interval.units == 1 else ""
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"
