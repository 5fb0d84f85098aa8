"""Results of the probe task: probe beside report, by state, document, kind of vector and sham."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.probe import COMPARISONS, Array, Detection, Scores, aurocs, detection, scores_of
from introbench.prompts.schema import REFERENCE_DOCUMENT
from introbench.records.probe_factors import ProbeFactors
from introbench.stats.intervals import own_rng

EVERY_DOCUMENT = "all"


@dataclass(frozen=True)
class ProbedDocument:
    """AUROCs and scores under one document; NaN for vectors that are not finite.

    Attributes:
        document: Which document.
        concepts: How many of the vectors are concepts'; they come first, random vectors follow.
        report: AUROC of the report by comparison, each [vectors].
        answer: AUROC of the probe where questions are answered, by comparison, each [layers, vectors].
        cache: Scores of the probe at the end of the prior turn, [layers, vectors, 1].
    """

    document: str
    concepts: int
    report: Mapping[str, Array]
    answer: Mapping[str, Array]
    cache: Scores


@dataclass(frozen=True)
class Result:
    """One line of a table.

    Attributes:
        state: "answer", where questions are answered, or "cache", where the prior turn ends.
        document: Under which document, or `EVERY_DOCUMENT`.
        vectors: "concepts" or "random".
        comparison: One of `COMPARISONS`.
        last: With the probe after the last block.
        mean: With the mean of the probes after all blocks that the injection can reach.
        curve: AUROC of the vectors that are finite, [layers, vectors].
        missing: How many vectors are not finite.
    """

    state: str
    document: str
    vectors: str
    comparison: str
    last: Detection
    mean: Detection
    curve: Array
    missing: int


def results_of(documents: Sequence[ProbedDocument], first_layer: int, seed: int = 0) -> list[Result]:
    """All results; the first is the headline.

    Where questions are answered, each document has its own probe. The first steered block changes nothing there yet,
    because tokens that are not steered themselves read of it one block later; a layer that the injection cannot reach
    would only dilute the mean. At the end of a prior turn there is one state for each vector, so that documents take
    the place of questions there, and all of them make one result.

    Args:
        documents: The reference document first.
        first_layer: The first steered block.
        seed: Seed of the bootstrap.
    """
    results = []
    for probed in documents:
        for comparison in COMPARISONS:
            for vectors, rows in _kinds(probed):
                curve, report = probed.answer[comparison][:, rows], probed.report[comparison][rows]
                results.append(
                    _result("answer", probed.document, vectors, comparison, curve, report, first_layer + 1, seed)
                )
    if documents:
        injected, sham = (
            np.concatenate([getattr(probed.cache, name) for probed in documents], axis=2)
            for name in ("injected", "sham")
        )
        name = documents[0].document if len(documents) == 1 else EVERY_DOCUMENT
        for comparison in COMPARISONS:
            by_vector = aurocs(Scores(injected, sham), np.ones(len(documents)), comparison)
            reports = np.mean([probed.report[comparison] for probed in documents], axis=0)
            for vectors, rows in _kinds(documents[0]):
                curve = by_vector[:, rows]
                results.append(_result("cache", name, vectors, comparison, curve, reports[rows], first_layer, seed))
    return results


def _kinds(probed: ProbedDocument) -> list[tuple[str, slice]]:
    """The kinds of vectors, and the numbers of the vectors of each kind."""
    total = len(probed.report["same"])
    kinds = [("concepts", slice(0, probed.concepts)), ("random", slice(probed.concepts, total))]
    return [(name, rows) for name, rows in kinds if rows.start < rows.stop]


def _result(
    state: str,
    document: str,
    vectors: str,
    comparison: str,
    curve: Array,
    report: Array,
    first: int,
    seed: int,
) -> Result:
    """One result from AUROCs of the probe, [layers, vectors], and of the report, [vectors]."""
    reached = curve[first:]
    none = np.full(curve.shape[1], math.nan)
    finite = np.isfinite(report) & np.isfinite(curve).all(axis=0)

    def detected(name: str, probe: Array) -> Detection:
        rng = own_rng(seed, state, document, vectors, comparison, name)
        return detection(probe, report, rng, are_concepts=vectors == "concepts")

    return Result(
        state=state,
        document=document,
        vectors=vectors,
        comparison=comparison,
        last=detected("last", curve[-1] if len(curve) else none),
        mean=detected("mean", reached.mean(axis=0) if len(reached) else none),
        curve=curve[:, finite],
        missing=int((~finite).sum()),
    )


def probe_results(scored: Sequence[ScoredTrial]) -> list[Result]:
    """All results, from the samples' metadata and their scores'; empty without a document that was scored."""
    trials = [(ProbeFactors.from_json(metadata), exact) for metadata, exact in scored if exact]
    if not trials:
        return []
    by_document = {factors.document: _probed(factors, exact) for factors, exact in trials}
    run = trials[0][0]
    order = sorted(run.documents, key=lambda name: name != REFERENCE_DOCUMENT)
    return results_of([by_document[name] for name in order if name in by_document], run.first_layer, run.seed)


def _probed(factors: ProbeFactors, exact: Mapping[str, Any]) -> ProbedDocument:
    report, answer = (
        {name: np.array(exact[what][name], dtype=float) for name in COMPARISONS} for what in ("report", "answer")
    )
    return ProbedDocument(factors.document, len(exact["concepts"]), report, answer, scores_of(exact["cache"]))


def answer_results(results: Sequence[Result]) -> list[Result]:
    """The results where questions are answered, against the shams of the same items: one per document and vectors."""
    return [result for result in results if result.state == "answer" and result.comparison == "same"]
