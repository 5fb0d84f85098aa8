"""The probe in words: what the report recovers of what a probe reads, beside random vectors."""

from dataclasses import replace

import pytest
from old_trials import old_trials

from introbench.analysis.probe import Detection
from introbench.analysis.probe_results import Result, probe_results
from introbench.report import probe
from introbench.stats.intervals import NOT_MEASURED, Interval

TRIALS = old_trials("probe", "probed")


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return probe_results(TRIALS)


def conclusion(monkeypatch: pytest.MonkeyPatch, results: list[Result], recovered: Interval) -> list[str]:
    last = Detection(Interval(0.9, 0.8, 1.0, 4), Interval(0.6, 0.5, 0.7, 4), recovered, "")
    monkeypatch.setattr(probe, "probe_results", lambda _: [replace(results[0], last=last), *results[1:]])
    return list(probe.report(TRIALS).conclusion)


def test_what_is_recovered_stands_first(monkeypatch: pytest.MonkeyPatch, results: list[Result]) -> None:
    first, beside, random, rest, _ = conclusion(monkeypatch, results, Interval(0.25, 0.1, 0.4, 4))
    assert first == "The model's report recovers 0.25 [0.10, 0.40] of what a linear probe reads in its state."
    assert "has an AUROC of 0.90 [0.80, 1.00], the report one of 0.60 [0.50, 0.70]" in beside
    assert random.startswith("Under random vectors: probe 0.88 ")
    assert rest.startswith("It rests on 4 concepts")
    first, *_ = conclusion(monkeypatch, results, Interval(0.25, -0.1, 0.6, 4))
    assert first == "It is not shown that the report recovers any of what a probe reads: 0.25 [-0.10, 0.60] of it."


def test_what_is_not_known_has_its_reason(results: list[Result]) -> None:
    assert results[0].last.reason
    assert (
        probe.report(TRIALS).conclusion[0]
        == f"What the model's report recovers is not known: {results[0].last.reason}."
    )


def test_lost_vectors_are_counted(monkeypatch: pytest.MonkeyPatch, results: list[Result]) -> None:
    lost = replace(results[0], missing=4, last=Detection(NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, "none"))
    monkeypatch.setattr(probe, "probe_results", lambda _: [lost])
    first, last = probe.report(TRIALS).conclusion
    assert first.startswith("No conclusion: ")
    assert last == "4 vectors without finite numbers: lower the strength."
    assert probe.report([]).conclusion
