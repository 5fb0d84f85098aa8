"""Results of the probe task: layers, documents, and what stands first."""

import math

import numpy as np
import pytest

from introbench.analysis.probe import COMPARISONS, Scores
from introbench.analysis.probe_results import ProbedDocument, answer_results, results_of


def test_results_take_the_last_layer_the_mean_and_all_documents() -> None:
    rng = np.random.default_rng(0)

    def document(label: str, cache: list[float]) -> ProbedDocument:
        answer = {name: np.concatenate([np.full((2, 5), 0.5), rng.uniform(0.5, 1, (2, 5))]) for name in COMPARISONS}
        report = {name: rng.uniform(0.4, 0.9, 5) for name in COMPARISONS}
        scores = np.broadcast_to(np.array(cache)[None, :, None], (3, 5, 1))
        return ProbedDocument(label, 3, report, answer, Scores(scores, np.zeros((3, 5, 1))))

    documents = [document("info", [1, 1, -1, 0, 1]), document("none", [1, -1, -1, 0, math.nan])]
    results = results_of(documents, 1)
    assert results[0].document == "info"
    assert (results[0].state, results[0].vectors, results[0].comparison) == ("answer", "concepts", "same")
    answer = documents[0].answer["same"]
    assert results[0].last.probe.estimate == pytest.approx(answer[-1, :3].mean())
    assert results[0].mean.probe.estimate == pytest.approx(answer[2:, :3].mean()), (
        "not diluted by layers that cannot know"
    )
    cached = {(result.vectors, result.comparison): result for result in results if result.state == "cache"}
    assert cached["concepts", "same"].document == "all"
    assert cached["concepts", "same"].last.probe.estimate == pytest.approx(np.mean([1, 0.5, 0]))
    assert cached["concepts", "same"].last.report.estimate == pytest.approx(
        np.mean([probed.report["same"][:3].mean() for probed in documents])
    )
    assert cached["random", "same"].last.probe.estimate == pytest.approx(np.mean([0.5, 1.0]))
    assert [repr(result.last) for result in results_of(documents, 1)] == [repr(result.last) for result in results], (
        "deterministic"
    )
    assert results_of([], 0) == []
    answers = answer_results(results)
    assert [(result.document, result.vectors) for result in answers] == [
        (document, vectors) for document in ("info", "none") for vectors in ("concepts", "random")
    ]
