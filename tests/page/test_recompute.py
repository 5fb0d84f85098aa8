"""Scores and metrics computed again: equal if nothing was touched; any stored value that was changed is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai import score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log

from introbench import registry
from introbench.page.recompute import Recomputed, check_lines, recompute
from introbench.report.log import read_log

OLD = Path(__file__).parents[1] / "old_logs"


@pytest.fixture(scope="module")
def log() -> EvalLog:
    """A log of this release."""
    return score(read_eval_log(str(OLD / "calibrate.eval")), registry.dose_response(), action="overwrite")


def checked(log: EvalLog, tmp_path: Path, change: Callable[[EvalLog], None] = lambda log: None) -> Recomputed:
    """What computing a log again shows of which something was changed."""
    changed, path = log.model_copy(deep=True), tmp_path / "log.eval"
    change(changed)
    write_eval_log(changed, str(path))
    return recompute(str(path), "dose_response", registry.dose_response())


def test_a_log_that_nobody_touched_is_equal(log: EvalLog, tmp_path: Path) -> None:
    found = checked(log, tmp_path)
    assert found.differences == []
    assert found.left_out == ""
    assert found.trials == 2
    assert found.metrics > 0
    assert check_lines({"log": found})[0].endswith("computed again: equal within 1e-09")


def test_one_changed_number_of_a_trial_is_named(log: EvalLog, tmp_path: Path) -> None:
    def change(changed: EvalLog) -> None:
        (given,) = (changed.samples or [])[1].scores.values()
        strength = next(iter(given.metadata["doses"]))
        given.metadata["doses"][strength] += 1e-6

    (difference,) = checked(log, tmp_path, change).differences
    assert difference.where.startswith(f"trial {(log.samples or [])[1].id}, epoch 1, metadata, doses, ")
    (line, named) = check_lines({"log": checked(log, tmp_path, change)})
    assert "1 stored value not as the trials give" in line
    assert str(difference) in named


def test_a_changed_metric_is_named(log: EvalLog, tmp_path: Path) -> None:
    def change(changed: EvalLog) -> None:
        changed.results.scores[0].metrics["vectors"].value += 1e-3

    (difference,) = checked(log, tmp_path, change).differences
    assert difference.where == "metric, vectors"


@pytest.mark.parametrize("task", ["introspection", "location", "sweep"])
def test_logs_of_an_older_release_are_compared_as_far_as_they_can_be(task: str) -> None:
    log = read_log(str(OLD / f"{task}.eval"))
    found = recompute(log.location, log.scorer, getattr(registry, log.scorer)())
    assert found.differences == []
    assert found.trials == len(log.scored)
    assert "of one release alone" in found.left_out or "version 1 of the rules" in found.left_out


def test_a_log_of_this_release_cannot_pass_for_one_of_older_rules(tmp_path: Path) -> None:
    scorer = registry.yes_shift()
    changed = score(read_eval_log(str(OLD / "introspection.eval")), scorer, action="overwrite", display="none")
    assert changed.results
    for metric in changed.results.scores[0].metrics.values():
        metric.params = {"rules": 1}
    write_eval_log(changed, str(tmp_path / "log.eval"))
    (difference,) = recompute(str(tmp_path / "log.eval"), "yes_shift", scorer).differences
    assert difference.where == "metric, rules"


def test_another_verdict_is_named(tmp_path: Path) -> None:
    scorer = registry.yes_shift()
    changed = score(read_eval_log(str(OLD / "introspection.eval")), scorer, action="overwrite", display="none")
    assert changed.results
    metrics = changed.results.scores[0].metrics
    metrics["verdict: tracks the concept"] = metrics.pop("verdict: no effect")
    write_eval_log(changed, str(tmp_path / "log.eval"))
    (difference,) = recompute(str(tmp_path / "log.eval"), "yes_shift", scorer).differences
    assert (difference.where, difference.stored) == ("metric, verdict", "tracks the concept")
