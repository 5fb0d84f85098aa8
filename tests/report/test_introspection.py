"""The introspection task in words: verdict, excess, what they rest on, and what would change them."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from verdict_evidence import INWARD, LARGE, NONE, POINT, evidence

from introbench.analysis.evidence import Evidence
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import ScoredTrial
from introbench.report import introspection
from introbench.report.log import scored_trials
from introbench.report.read_log import read_run
from introbench.report.report import Report

OLD = Path(__file__).parents[1] / "old_logs" / "introspection.eval"


@pytest.fixture(scope="module")
def trials() -> list[ScoredTrial]:
    """The trials of a run with control vectors, two documents, and the injection on in the answer as well."""
    return scored_trials(read_run(str(OLD)).trials, "yes_shift")


def report_on(trials: list[ScoredTrial], monkeypatch: pytest.MonkeyPatch, numbers: Evidence) -> Report:
    """The report of a run whose verdict rests on other numbers."""
    of_run = cached_property(lambda _: numbers)
    of_run.__set_name__(IntrospectionRun, "evidence")
    monkeypatch.setattr(IntrospectionRun, "evidence", of_run)
    return introspection.report(IntrospectionRun(trials))


def test_a_verdict_is_quoted_with_its_excess_and_all_that_it_rests_on(
    trials: list[ScoredTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report_on(trials, monkeypatch, evidence(**INWARD)).conclusion == [
        "Verdict under document info: TRACKS THE CONCEPT. Concepts' vectors move introspection answers beyond all that "
        "was asked beside them; by what means, and whether the model knows what the thought is, is not shown.",
        "Excess over control questions: +2.000 [+1.500, +2.500] nats (95% interval; margin 0.5 nats).",
        "Beside it: random vectors +0.000 [-0.100, +0.100], salience questions +0.000 [-0.100, +0.100].",
        "It rests on 9 concepts, 24 introspection questions and 44 control questions; 9 of 9 vectors live.",
        "What would overturn it: one more family of control questions that moves as much.",
    ]


def test_what_was_not_asked_or_not_measured_is_said(trials: list[ScoredTrial], monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = evidence(excess=LARGE, random=POINT, tested=0, live=0, concepts=1)
    _, _, beside, rest, *_ = report_on(trials, monkeypatch, numbers).conclusion
    assert beside == "Beside it: random vectors +2.000, no interval, salience questions not asked."
    assert rest == "It rests on 1 concept, 24 introspection questions and 44 control questions."


def test_a_run_without_a_verdict_says_what_it_lacks(trials: list[ScoredTrial], monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = report_on(trials, monkeypatch, evidence(excess=POINT, concepts=1)).conclusion
    assert first.startswith("Verdict under document info: NONE. One concept was injected: ")
    monkeypatch.undo()
    for family, lack in (
        ("introspection", "Verdict under document info: NONE. No control question was asked with the injection"),
        ("always_no", "No verdict: no introspection question was asked with the injection"),
    ):
        plan = {**trials[0][0]["plan"], "families": [family]}
        alone = [({**m, "plan": plan}, exact) for m, exact in trials if m["family"] == family]
        first, *_ = introspection.report(IntrospectionRun(alone)).conclusion
        assert first.startswith(lack)


def test_trials_without_numbers_are_counted(trials: list[ScoredTrial]) -> None:
    lost: list[ScoredTrial] = [(trials[0][0], {}), *trials[1:]]
    assert (
        introspection.report(IntrospectionRun(lost)).conclusion[-1]
        == "1 trial without finite numbers: lower the strength."
    )
    assert not introspection.report(IntrospectionRun(trials)).conclusion[-1].endswith("lower the strength.")


def test_the_excess_stands_beside_random_vectors_and_salience(
    trials: list[ScoredTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = replace(evidence(**INWARD), salience=NONE, beyond_salience=LARGE)
    probabilities, excesses = report_on(trials, monkeypatch, numbers).tables
    assert "yes 42.518% -> 29.775% (-12.743%)" in probabilities
    rows: dict[str, Any] = {line.partition("  ")[0]: line for line in excesses.splitlines()[1:]}
    assert list(rows) == ["introspection, concepts", "salience, concepts"], "its random vectors have another dose"
    assert rows["salience, concepts"].endswith("+0.000 [-0.100, +0.100]  +2.000 [+1.500, +2.500]")
