"""Which concept does the model say was injected: from single trials to tables of reports.

Bits about concepts mean nothing by themselves, since vectors without content shift answers, too. What counts is how
many more there are than about random vectors of the same dose, each concept's vector beside its own rotation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introbench.analysis.logit_lens import LensTrial, lens_trial_of
from introbench.analysis.noticed import ReadTrial, ScoredTrial, read_trials
from introbench.records.arm import IMPACT, NORM, RANDOM, Arm
from introbench.records.factors import TrialFactors
from introbench.stats.information import ConceptLift, Information, concept_lifts, confusion_matrix, information
from introbench.stats.information_difference import InformationDifference, information_difference
from introbench.stats.intervals import NOT_MEASURED, Interval, mean_interval, own_rng

Array = NDArray[np.float64]

NOTHING = ""
"""Name of the option that says that nothing was injected."""


@dataclass(frozen=True)
class Report:
    """What the model reports in one trial, under every arm.

    Attributes:
        part: `list` or `naming`.
        document: Document in the first turn.
        item: The order of the list, or the wording.
        concept: The injected concept.
        arms: For every arm the probability of each option, among the options; empty if it is not finite.
        kinds: The kind of every arm.
        lens: For each option its probability under the concept's vector after every block, [layers].
        rotation: Name of the arm whose vector is a rotation of the concept's own; empty if there is none.
    """

    part: str
    document: str
    item: str
    concept: str
    arms: Mapping[str, Mapping[str, float]]
    kinds: Mapping[str, str]
    lens: Mapping[str, Sequence[float]]
    rotation: str = ""


@dataclass(frozen=True)
class Identification:
    """What the reports under one document say together.

    Attributes:
        part: `list` or `naming`.
        document: Under which document.
        concepts: The injected concepts.
        options: What could be reported.
        confusion: Mean report on each concept, [concepts, options].
        information: Information between what was injected and what was reported.
        random_bits: Information between which random vector was injected and what was reported, corrected for bias; NaN
            without a random vector for each concept.
        beyond_random: How much more information there is about concepts; None likewise.
        lifts: For each concept, how much more often it is reported when it was injected.
        nothing: Probability of "nothing", injected minus sham, over concepts; NaN if it is not an option.
        nothing_random: The same under random vectors, without an interval, because concepts share these vectors.
        bits_by_layer: Bias-corrected information by the logit lens, [layers].
        missing: Number of trials that were lost or not finite, or whose item was for another concept.
    """

    part: str
    document: str
    concepts: tuple[str, ...]
    options: tuple[str, ...]
    confusion: Array
    information: Information
    random_bits: float
    beyond_random: InformationDifference | None
    lifts: list[ConceptLift]
    nothing: Interval
    nothing_random: Interval
    bits_by_layer: list[float]
    missing: int


def identify(reports: Sequence[Report], *, seed: int = 0, by_layer: bool = False) -> Identification | None:
    """Put the reports of one part under one document together.

    Args:
        reports: All of them, in any order.
        seed: Seed of permutations and bootstrap.
        by_layer: Whether to compute the information after every block as well.

    Returns:
        None if there is no item that every concept has a report on, or only one concept.
    """
    reports = sorted(reports, key=lambda report: (report.item, report.concept))
    concepts = tuple(dict.fromkeys(report.concept for report in reports))
    items = list(dict.fromkeys(report.item for report in reports))
    finite = {(report.item, report.concept): report for report in reports if report.arms.get("concept")}
    complete = [item for item in items if all((item, concept) in finite for concept in concepts)]
    if not complete or len(concepts) < 2:
        return None
    first = finite[complete[0], concepts[0]]
    # The injected concepts come first, in their order, then what else could be reported.
    options = (*concepts, *sorted(set(first.arms["concept"]) - set(concepts)))
    kept = [[finite[item, concept] for concept in concepts] for item in complete]
    table = _table([[report.arms["concept"] for report in row] for row in kept], options)
    rng = own_rng(seed, first.part, first.document)
    of_random = own_rng(seed, first.part, first.document, "random")
    tables = _beside_random(kept, options)
    return Identification(
        part=first.part,
        document=first.document,
        concepts=concepts,
        options=options,
        confusion=confusion_matrix(_square(table, len(concepts))),
        information=information(_square(table, len(concepts)), rng=rng),
        random_bits=information(tables[1], rng=of_random).bits if tables else math.nan,
        beyond_random=information_difference(*tables, rng=of_random) if tables else None,
        lifts=concept_lifts(_square(table, len(concepts))),
        nothing=_nothing(kept, "concept", rng),
        nothing_random=_nothing(kept, "random", rng).without_ends,
        bits_by_layer=_bits_by_layer(kept, options, rng) if by_layer else [],
        missing=len(concepts) * len(items) - len(concepts) * len(complete),
    )


def _table(reports: Sequence[Sequence[Mapping[str, float]]], options: Sequence[str]) -> Array:
    """Probabilities [items, concepts, options], summing to exactly 1."""
    table = np.array([[[report[option] for option in options] for report in row] for row in reports])
    return table / table.sum(axis=-1, keepdims=True)


def _beside_random(kept: Sequence[Sequence[Report]], options: Sequence[str]) -> tuple[Array, Array] | None:
    """The reports under concepts and under their rotations, in the items with both; None if there are no such items."""
    in_both = [row for row in kept if all(report.arms.get(report.rotation) for report in row)]
    if not in_both:
        return None
    under_concepts, under_random = (
        _square(_table([[report.arms[name(report)] for report in row] for row in in_both], options), len(in_both[0]))
        for name in (lambda _: "concept", lambda report: report.rotation)
    )
    return under_concepts, under_random


def _square(table: Array, concepts: int) -> Array:
    """The table with all options that were not injected added up to one: a list may be longer than the concepts."""
    rest = table[:, :, concepts:].sum(axis=-1, keepdims=True)
    return table if table.shape[2] - concepts <= 1 else np.concatenate([table[:, :, :concepts], rest], axis=-1)


def _nothing(kept: Sequence[Sequence[Report]], kind: str, rng: np.random.Generator) -> Interval:
    """How much more, or less, often "nothing" is reported under one kind of arm than under the sham, over concepts."""
    differences = []
    for row in kept:
        reports = [
            [
                by_option[NOTHING]
                for arm, by_option in report.arms.items()
                if report.kinds[arm] == kind and NOTHING in by_option
            ]
            for report in row
        ]
        if all(reports):  # an arm that is not finite is left out, and with the last of them the item
            sham = [report.arms["sham"][NOTHING] for report in row]
            differences.append(np.array([np.mean(probabilities) for probabilities in reports]) - sham)
    if not differences:
        return NOT_MEASURED
    return mean_interval(np.mean(differences, axis=0), rng=rng)


def _bits_by_layer(kept: Sequence[Sequence[Report]], options: Sequence[str], rng: np.random.Generator) -> list[float]:
    """The information in what the logit lens reads after every block, in bits."""
    bits = []
    for layer in range(len(kept[0][0].lens[options[0]])):
        table = _table(
            [[{option: report.lens[option][layer] for option in options} for report in row] for row in kept], options
        )
        bits.append(information(_square(table, len(kept[0])), permutations=199, rng=rng).bits)
    return bits


def identifications(
    trials: Sequence[ScoredTrial], *, seed: int = 0, by_layer: bool = False
) -> dict[tuple[str, str], Identification]:
    """What is reported in each part under each document, from the samples' metadata and their scores'."""
    read = read_trials(trials)
    reports = [_report(factors, exact) for factors, exact in read]
    identified = {
        cell: identify([r for r in reports if (r.part, r.document) == cell], seed=seed, by_layer=by_layer)
        for cell in _cells(read)
    }
    return {cell: result for cell, result in identified.items() if result is not None}


def first_of_parts(trials: Sequence[ScoredTrial]) -> dict[str, Identification]:
    """What is reported in each part under the reference document, or the first one in which it has reports."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    by_cell = identifications(trials)
    parts = {part: [by_cell.get((part, document)) for document in plan.ordered_documents] for part in plan.families}
    return {part: next(filter(None, of_part)) for part, of_part in parts.items() if any(of_part)}


def lens_trials(trials: Sequence[ScoredTrial]) -> dict[tuple[str, str], list[LensTrial]]:
    """How much the token of the injected concept gains after every block, for each part and document."""
    read = read_trials(trials)
    grouped: dict[tuple[str, str], list[LensTrial]] = {cell: [] for cell in _cells(read)}
    for factors, exact in sorted(read, key=lambda trial: (trial[0].question.question, trial[0].concept)):
        question = factors.question
        by_arm = {arm: np.array(values) for arm, values in exact.get("own", {}).items()}
        gaps = {arm: values - by_arm["sham"] for arm, values in by_arm.items()}
        curves = (
            {"P(concept) sham": np.exp(by_arm["sham"]), "P(concept) injected": np.exp(by_arm["concept"])}
            if by_arm
            else {}
        )
        grouped[question.family, question.document].append(
            lens_trial_of(question.document, question.question, factors, gaps, curves)
        )
    return grouped


def _cells(trials: Sequence[ReadTrial]) -> list[tuple[str, str]]:
    """Parts and documents, in the order of the plan."""
    if not trials:
        return []
    plan = trials[0][0].plan
    return [(part, document) for part in plan.families for document in plan.documents]


def _report(factors: TrialFactors, exact: Mapping[str, Any]) -> Report:
    """One trial's report, from its factors and its score's metadata."""
    return Report(
        part=factors.question.family,
        document=factors.question.document,
        item=factors.question.question,
        concept=factors.concept,
        arms=exact.get("arms", {}),
        kinds={name: arm.kind for name, arm in factors.arms.items()},
        lens=exact.get("lens", {}),
        rotation=_rotation(factors.arms),
    )


def _rotation(arms: Mapping[str, Arm]) -> str:
    """The arm whose vector is a rotation of the concept's own: the first random one, at its dose if there is one."""
    first = {arm.matched: name for name, arm in arms.items() if arm.kind == RANDOM and arm.number == 1}
    return first.get(IMPACT, first.get(NORM, ""))
