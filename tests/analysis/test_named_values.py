"""Every number of a run has a name, which is the one that it has in the run's results."""

import math
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.named_values import VALUES, interval_values, named_values, result_values
from introbench.analysis.noticed import Result, ScoredTrial
from introbench.analysis.verdict import VERDICTS
from introbench.stats.intervals import NOT_MEASURED, Interval

OLD = Path(__file__).parents[1] / "old_logs"


def trials_of(task: str, scorer: str) -> list[ScoredTrial]:
    samples = read_eval_log(str(OLD / f"{task}.eval")).samples or []
    return [(sample.metadata, (sample.scores or {})[scorer].metadata or {}) for sample in samples]


def test_an_interval_is_three_values() -> None:
    assert interval_values("excess | info", Interval(1.0, 0.5, 1.75, 9)) == {
        "excess | info": 1.0,
        "excess | info | low": 0.5,
        "excess | info | high": 1.75,
    }


def test_a_result_has_its_pairs_and_what_is_missing_beside_it() -> None:
    results = [
        Result("introspection - always_no", "info", Interval(1.0, 0.5, 1.75, 9), 27, 2),
        Result("info - lorem", "", NOT_MEASURED, 0, 4),
    ]
    values = result_values(results)
    assert values["introspection - always_no | info"] == 1.0
    assert values["introspection - always_no | info | high"] == 1.75
    assert values["introspection - always_no | info | pairs"] == 27
    assert values["introspection - always_no | info | missing"] == 2
    assert math.isnan(values["info - lorem"])
    assert (values["info - lorem | pairs"], values["info - lorem | missing"]) == (0, 4)
    assert len(values) == 10


@pytest.mark.parametrize("scorer", VALUES)
def test_without_trials_there_are_no_values(scorer: str) -> None:
    assert named_values(scorer, []) == {}


def test_the_verdict_that_holds_is_1_and_the_excesses_are_those_of_the_run() -> None:
    trials = trials_of("introspection", "yes_shift")
    run, values = IntrospectionRun(trials), named_values("yes_shift", trials)
    assert run.verdict
    assert [verdict for verdict in VERDICTS if values[f"verdict: {verdict}"]] == [run.verdict.name]
    for excess in run.excesses:
        assert values[f"excess | {excess.vectors} | {excess.document}"] == excess.fit.excess.estimate


def test_all_that_an_identification_leaves_out_is_counted_once() -> None:
    values = named_values("identified", trials_of("identification", "identified"))
    assert [name for name in values if name.startswith("missing")] == [
        f"missing | {part} | {document}" for part in ("list", "naming") for document in ("info", "none")
    ]
