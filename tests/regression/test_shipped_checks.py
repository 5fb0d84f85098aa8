"""The shipped checks as their users run them on a tiny model, with and without a baseline file."""

import json
import re
from typing import Any

import pytest
from plugin_runs import Run, change_shifts, junit_elements, printed_table

from introbench.provider import resident
from introbench.provider.loaded_model import LoadedModel
from introbench.regression.read_baseline import read_records
from introbench.regression.run_state import NO_BASELINE, NO_MODEL

pytest_plugins = ["pytester"]


def test_without_a_model_the_checks_are_skipped_with_a_line(shipped: Run) -> None:
    result = shipped("-q")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"skipped"}
    result.stdout.fnmatch_lines([f"{outcomes['skipped']} skipped: {NO_MODEL}"])


@pytest.mark.slow
def test_a_baseline_is_saved_held_against_and_found_changed(
    shipped: Run, model: str, pytester: pytest.Pytester
) -> None:
    saved = shipped("--model", model, "--save-baseline", "b.json")
    saved.assert_outcomes(passed=18)
    saved.stdout.fnmatch_lines(["baseline of 1 evaluation written to b.json"])
    (record,) = read_records(pytester.path / "b.json")
    assert record.model == model

    same = shipped("--model", model, "--baseline", "b.json", "--junitxml", "same.xml")
    same.assert_outcomes(passed=18)
    same.stdout.re_match_lines(
        [
            rf"{re.escape(model)} against {re.escape(model)} of ....-..-..",
            r"metric +document +of +baseline +now +difference +95% interval +verdict",
            r"shift +info +introspection .*\[[+-]0.000, [+-]0.000\] +within 0.1",
            r"verdict .* the same",
        ]
    )
    properties = {element.get("name"): element.get("value") for element in junit_elements("same.xml", "property")}
    assert "within 0.1" in str(properties["shift | introspection | info"])

    change_shifts(pytester.path / "b.json", by=0.2)
    other = shipped("--model", model, "--baseline", "b.json", "--junitxml", "other.xml", "-m", "gates")
    other.assert_outcomes(failed=1, deselected=17)
    other.stdout.re_match_lines(
        [r"shift .* introspection .* CHANGED by more than 0.1", r"shift .* always_no .* within"]
    )
    (failure,) = junit_elements("other.xml", "failure")
    message = f"{failure.get('message')} {failure.text}"
    assert "shift changed by more than 0.1 on these wordings in 1 of 4 means" in message
    assert "Trials that changed most:" in message
    assert re.search(r"info\.[a-z-]+\.yes-no\.(cats|bread|trees): shift", message)

    within = shipped("--model", model, "--baseline", "b.json", "-m", "gates", "--budget", "0.5")
    within.assert_outcomes(passed=1, deselected=17)
    stopped = shipped("--model", model, "--baseline", "b.json", "-m", "gates or invariants", "-q", "-x")
    assert stopped.parseoutcomes() == {"failed": 1, "deselected": 2}
    quiet = shipped("--model", model, "--baseline", "b.json", "-m", "gates", "-qq")
    for result, rows in ((stopped, 4), (quiet, 1)):
        assert len([line for line in printed_table(result) if line.startswith("shift ")]) == rows


@pytest.mark.slow
def test_without_a_baseline_the_battery_is_not_run(shipped: Run, model: str, pytester: pytest.Pytester) -> None:
    result = shipped("--model", model, "--eval-logs", "kept")
    result.assert_outcomes(passed=15, skipped=3)
    result.stdout.fnmatch_lines([f"3 skipped: {NO_BASELINE}"])
    assert len(list((pytester.path / "kept").rglob("*.eval"))) == 2, "the small run of the invariants, twice"


@pytest.mark.slow
def test_science_warns_and_fails_only_if_asked_to(shipped: Run, model: str, pytester: pytest.Pytester) -> None:
    shipped("--model", model, "--save-baseline", "b.json", "-m", "science").assert_outcomes(passed=2, deselected=16)
    path = pytester.path / "b.json"
    baseline = json.loads(path.read_text())
    baseline["evaluations"][0]["verdict"] = "yes-bias"
    path.write_text(json.dumps(baseline))
    known = ("--model", model, "--baseline", "b.json", "-m", "science")
    result = shipped(*known, "-W", "default::introbench.errors.ChangeWarning")
    result.assert_outcomes(passed=2, deselected=16, warnings=1)
    result.stdout.fnmatch_lines(["*ChangeWarning: verdict changed: yes-bias (inject/*", "verdict*yes-bias*CHANGED*"])
    strict = shipped(*known, "-W", "error::introbench.errors.ChangeWarning")
    strict.assert_outcomes(passed=1, failed=1, deselected=16)


@pytest.mark.slow
def test_a_self_check_that_fails_is_the_test_that_fails(
    shipped: Run, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = LoadedModel.read

    def leaves_a_hook(runtime: LoadedModel, *arguments: Any) -> Any:
        before = runtime._checks.before
        monkeypatch.setattr(runtime._checks, "before", lambda parts: [before(parts), hook()])
        hook = lambda: runtime.engine.model.register_forward_hook(lambda *_: None)  # noqa: E731
        return read(runtime, *arguments)

    resident.RESIDENT.clear()
    monkeypatch.setattr(LoadedModel, "read", leaves_a_hook)
    result = shipped("--model", model, "-m", "invariants")
    resident.RESIDENT.clear()
    result.assert_outcomes(failed=1, skipped=14, deselected=3)
    result.stdout.fnmatch_lines(['*self-check "hooks gone": found 1 more on the model*'])
    result.stdout.fnmatch_lines(["FAILED *test_self_check*hooks gone*"])


def test_an_evaluation_that_failed_is_not_saved_as_a_baseline(shipped: Run, pytester: pytest.Pytester) -> None:
    result = shipped("--model", "inject/no/such-model", "--save-baseline", "b.json", "-m", "gates")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["baseline b.json: not written, since not all tests have passed"])
    assert not (pytester.path / "b.json").exists()
