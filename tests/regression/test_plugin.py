"""The pytest plugin as its users run it: on a tiny model, with every option, in projects with habits of their own."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from introbench.provider import resident
from introbench.provider.loaded_model import LoadedModel
from introbench.regression import session
from introbench.regression.baseline import read_records
from introbench.regression.fixtures import NO_BASELINE, NO_MODEL

pytest_plugins = ["pytester"]

SMALL = [
    *("-T", "concepts=cats,bread,trees", "-T", "documents=info", "-T", "layers=1:3", "-T", "strength=3"),
    *("-T", "families=introspection,always_no,always_yes,ambiguous", "-T", "random_vectors=1"),
]
"""Arguments of a battery that a tiny model answers in seconds."""
OWN = """
    SMALL = dict(concepts=["cats", "bread"], documents="info", formats="yes-no", layers="1:3", strength=3,
                 families=["introspection", "always_no"], random_vectors=1)

    def test_introspection_holds(evaluate, baseline):
        result = evaluate("introbench/introspection", limit=None, **SMALL)
        assert result.contrast("introspection", "always_no").low > -5
        baseline.check(result, metric="shift", budget=0.5)

    def test_again(evaluate, introbench_model, request):
        assert request.node.get_closest_marker("xdist_group").args == (f"introbench {introbench_model}",)
        result = evaluate("introbench/introspection", **SMALL)
        assert result.mean("introspection").units == 2
        assert result.noticed.units == 2
        assert result.verdict
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where these variables are set, pytest prints whole messages in its summary, and each line of them twice."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tiny_folder: Path) -> str:
    return f"inject/{tiny_folder}"


@pytest.fixture
def shipped(pytester: pytest.Pytester) -> Run:
    """Runs the shipped checks."""
    return lambda *arguments: pytester.runpytest_inprocess("--pyargs", "introbench.regression", *SMALL, *arguments)


def changed(path: Path, by: float, family: str = "introspection") -> None:
    """Make a baseline of a model whose shifts are others by about so much."""
    found = json.loads(path.read_text())
    for evaluation in found["evaluations"]:
        for question, concepts in evaluation["trials"].items():
            if evaluation["questions"][question]["family"] == family:
                for number, values in enumerate(concepts.values()):
                    values["shift"] -= by * (1 + 0.01 * number)
    path.write_text(json.dumps(found))


def test_without_a_model_the_checks_are_skipped_with_a_line(shipped: Run) -> None:
    result = shipped("-q")
    several = result.parseoutcomes()
    assert set(several) == {"skipped"}
    result.stdout.fnmatch_lines([f"{several['skipped']} skipped: {NO_MODEL}"])


def test_a_baseline_is_saved_held_against_and_found_changed(
    shipped: Run, model: str, pytester: pytest.Pytester
) -> None:
    saved = shipped("--model", model, "--save-baseline", "b.json")
    saved.assert_outcomes(passed=17)
    saved.stdout.fnmatch_lines(["baseline of 1 evaluation written to b.json"])
    (record,) = read_records(pytester.path / "b.json")
    assert record.model == model

    same = shipped("--model", model, "--baseline", "b.json", "--junitxml", "same.xml")
    same.assert_outcomes(passed=17)
    same.stdout.re_match_lines(
        [
            rf"{re.escape(model)} against {re.escape(model)} of ....-..-..",
            r"metric +document +of +baseline +now +difference +95% interval +verdict",
            r"shift +info +introspection .*\[[+-]0.000, [+-]0.000\] +within 0.1",
            r"verdict .* the same",
        ]
    )
    properties = {each.get("name"): each.get("value") for each in _cases("same.xml", "property")}
    assert "within 0.1" in str(properties["shift | introspection | info"])

    changed(pytester.path / "b.json", by=0.2)
    other = shipped("--model", model, "--baseline", "b.json", "--junitxml", "other.xml", "-m", "gates")
    other.assert_outcomes(failed=1, deselected=16)
    other.stdout.re_match_lines(
        [r"shift .* introspection .* CHANGED by more than 0.1", r"shift .* always_no .* within"]
    )
    (failure,) = _cases("other.xml", "failure")
    said = f"{failure.get('message')} {failure.text}"
    assert "shift changed by more than 0.1 in 1 of 4 means" in said
    assert "Trials that changed most:" in said
    assert re.search(r"info\.[a-z-]+\.yes-no\.(cats|bread|trees): shift", said)

    within = shipped("--model", model, "--baseline", "b.json", "-m", "gates", "--budget", "0.5")
    within.assert_outcomes(passed=1, deselected=16)
    stopped = shipped("--model", model, "--baseline", "b.json", "-m", "gates or invariants", "-q", "-x")
    assert stopped.parseoutcomes() == {"failed": 1, "deselected": 2}
    quiet = shipped("--model", model, "--baseline", "b.json", "-m", "gates", "-qq")
    for result, several in ((stopped, 4), (quiet, 1)):
        assert len([line for line in _table(result) if line.startswith("shift ")]) == several


def _table(result: pytest.RunResult) -> list[str]:
    """The table at the end; with -qq of what changed alone."""
    (begin,) = [at for at, line in enumerate(result.outlines) if re.fullmatch("=+ introbench =+", line)]
    return result.outlines[begin:]


def test_without_a_baseline_the_battery_is_not_run(shipped: Run, model: str, pytester: pytest.Pytester) -> None:
    result = shipped("--model", model, "--eval-logs", "kept")
    result.assert_outcomes(passed=14, skipped=3)
    result.stdout.fnmatch_lines([f"3 skipped: {NO_BASELINE}"])
    assert len(list((pytester.path / "kept").rglob("*.eval"))) == 2, "the small run of the invariants, twice"


def _cases(path: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).iter(tag))


def test_science_warns_and_fails_only_if_asked_to(shipped: Run, model: str, pytester: pytest.Pytester) -> None:
    shipped("--model", model, "--save-baseline", "b.json", "-m", "science").assert_outcomes(passed=2, deselected=15)
    path = pytester.path / "b.json"
    found = json.loads(path.read_text())
    found["evaluations"][0]["verdict"] = "yes-bias"
    path.write_text(json.dumps(found))
    known = ("--model", model, "--baseline", "b.json", "-m", "science")
    result = shipped(*known, "-W", "default::introbench.errors.ChangeWarning")
    result.assert_outcomes(passed=2, deselected=15, warnings=1)
    result.stdout.fnmatch_lines(["*ChangeWarning: verdict changed: yes-bias (inject/*", "verdict*yes-bias*CHANGED*"])
    strict = shipped(*known, "-W", "error::introbench.errors.ChangeWarning")
    strict.assert_outcomes(passed=1, failed=1, deselected=15)


def test_a_users_own_file(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    alone = pytester.runpytest_inprocess("-rs")
    alone.assert_outcomes(skipped=2)
    without = pytester.runpytest_inprocess("--model", model)
    without.assert_outcomes(passed=1, skipped=1)
    without.stdout.fnmatch_lines([f"1 skipped: {NO_BASELINE}"])
    pytester.runpytest_inprocess("--model", model, "--save-baseline", "b.json").assert_outcomes(passed=2)
    held = pytester.runpytest_inprocess("--model", model, "--baseline", "b.json", "--eval-logs", "kept")
    held.assert_outcomes(passed=2)
    logs = list((pytester.path / "kept").rglob("*.eval"))
    assert len(logs) == 1, "what two tests ask for is run once"
    assert read_records(logs[0])[0].trials == read_records(pytester.path / "b.json")[0].trials


def test_other_trials_than_those_of_the_baseline_are_refused(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    pytester.runpytest_inprocess("--model", model, "--save-baseline", "b.json").assert_outcomes(passed=2)
    pytester.makepyfile(OWN.replace("strength=3", "strength=4"))
    result = pytester.runpytest_inprocess("--model", model, "--baseline", "b.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["trials of introspection with digest *; strength: 3 -> 4; run the same*"])
    assert "Captured log" not in str(result.stdout)
    assert "another exception" not in str(result.stdout)


def test_mistakes_of_a_user(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(
        """
        import pytest

        SMALL = dict(concepts=["cats"], documents="info", formats="yes-no", families=["introspection", "always_no"],
                     layers="1:3", strength=3, random_vectors=1)

        def test_no_task(evaluate):
            evaluate("introbench/nothing")

        def test_no_document(evaluate):
            evaluate("introbench/introspection", documents="infos")

        def test_one_concept(evaluate, baseline):
            baseline.check(evaluate("introbench/introspection", **SMALL))

        def test_no_metric(evaluate, baseline):
            baseline.check(evaluate("introbench/introspection", **SMALL), metric="acc")

        def test_no_family(evaluate, baseline):
            baseline.check(evaluate("introbench/introspection", **SMALL), families=["introspection", "always_on"])

        def test_no_contrast(evaluate):
            evaluate("introbench/introspection", **SMALL).contrast("introspection", "always_yes")

        def test_no_shifts(evaluate, baseline):
            baseline.check(evaluate("introbench/probe", concepts=["cats", "bread"], documents="info", layers="1:3"))
        """
    )
    saved = pytester.runpytest_inprocess("--model", model, "--save-baseline", "b.json", "-k", "one_concept")
    saved.stdout.fnmatch_lines(["baseline of 1 evaluation written to b.json"])
    result = pytester.runpytest_inprocess("--model", model, "--baseline", "b.json")
    result.assert_outcomes(failed=7)
    said = str(result.stdout)
    for line in (
        "introbench/nothing on inject/",
        "documents='infos': expected one of none, info",
        "metric 'shift': no interval for introspection under info, always_no under info: expected two or more concepts",
        "metric 'acc': expected one of log_odds, random, shift; correct it",
        "families=always_on: expected some of introspection, always_no; correct it",
        "result 'introspection - always_yes | info': expected one of introspection - always_no | info",
        "its trials have no family, question, format, concept",
    ):
        assert line in said, line
    assert "b.json" not in str(pytester.runpytest_inprocess("--co", "--model", model, "--save-baseline", "c.json"))
    assert not (pytester.path / "c.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "openai/gpt"], "--model openai/gpt: cannot be injected into; expected inject/NAME"),
        (["--save-baseline", "b.json"], "--save-baseline with 0 models: expected one"),
        (["--model", "inject/a", "--model", "inject/b", "--save-baseline", "b.json"], "--save-baseline with 2 models"),
        (["--baseline", "nothing.json"], "--baseline: baseline nothing.json: no such file"),
        (["--model", "inject/a", "--save-baseline", "."], "--save-baseline .: cannot be written"),
        (["--budget", "nan"], "'nan': expected a number of nats, 0 or more"),
        (["-T", "x=["], "is no YAML"),
        (["-M", "dtype"], "'dtype' after -M or -T: expected KEY=VALUE"),
    ],
)
def test_options_that_cannot_be_served_are_refused_at_once(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in str(result.stderr)
    assert "Traceback" not in str(result.stderr)


def test_several_models_one_after_the_other_and_their_arguments(
    pytester: pytest.Pytester, model: str, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").symlink_to(tiny_folder)
    pytester.makepyfile(OWN)
    result = pytester.runpytest_inprocess(
        *("--model", model, "--model", f"inject/{tmp_path / 'other'}"),
        *("-M", "dtype=bfloat16", "--eval-logs", "kept", "-v"),
    )
    result.assert_outcomes(passed=2, skipped=2)
    order = re.findall(r"test_\w+\[(inject/\S+)\]", str(result.stdout))
    assert sorted(set(order), key=order.index) == [model, f"inject/{tmp_path / 'other'}"]
    assert order[0] == order[1], "all of a model's tests before the next model is loaded"
    logs = [read_records(path)[0] for path in (pytester.path / "kept").rglob("*.eval")]
    assert sorted(each.model for each in logs) == sorted(set(order))


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
    result.assert_outcomes(failed=1, skipped=13, deselected=3)
    result.stdout.fnmatch_lines(['*self-check "hooks gone": found 1 more on the model*'])
    result.stdout.fnmatch_lines(["FAILED *test_self_check*hooks gone*"])


def test_what_was_ended_half_way_is_run_again(
    pytester: pytest.Pytester, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import pytest

        SMALL = dict(concepts=["cats", "bread"], documents="info", formats="yes-no", families="introspection", limit=4,
                     layers="1:3", strength=3, random_vectors=1)

        @pytest.mark.parametrize("number", range(2))
        def test_it(evaluate, number):
            assert evaluate("introbench/introspection", **SMALL).log.status == "success"
        """
    )

    def breaks(*_: object, log_dir: str, **__: object) -> None:
        (Path(log_dir) / "half.eval").write_text("half")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", breaks)
        broken = pytester.runpytest_inprocess("--model", model)
    broken.assert_outcomes(failed=2)
    assert str(broken.stdout).count("the disk is full") == 2, "what failed once is not served as a result"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", interrupted)
        stopped = pytester.runpytest_inprocess("--model", model, no_reraise_ctrlc=True)
    assert stopped.ret == pytest.ExitCode.INTERRUPTED


def test_a_log_that_was_left_half_written_is_no_evaluation(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"concepts": ["cats"], "documents": "info", "families": "introspection", "layers": "1:3", "strength": 3}
    asked = (model, "introbench/introspection", 2, few)

    def killed(*_: object, log_dir: str, **__: object) -> None:
        (Path(log_dir) / "half.eval").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", killed)
        with pytest.raises(KeyboardInterrupt):
            session.Session(tmp_path, {}).evaluate(*asked)
    assert session.Session(tmp_path, {}).evaluate(*asked).log.status == "success"


def test_an_evaluation_that_failed_is_not_saved_as_a_baseline(shipped: Run, pytester: pytest.Pytester) -> None:
    result = shipped("--model", "inject/no/such-model", "--save-baseline", "b.json", "-m", "gates")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["baseline b.json: not written, since not all tests have passed"])
    assert not (pytester.path / "b.json").exists()


# --- in a process of their own ---


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_nothing_is_imported_where_nobody_asks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"torch", "transformers", "inspect_ai", "numpy", "scipy", "yaml", "filelock"}
            assert not heavy & set(sys.modules)
        """
    )
    assert "1 passed" in run(pytester.path, "-q", "-p", "no:xdist")
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--model')")
    assert "1 passed" in run(pytester.path, "-q", "-p", "no:introbench"), "a project's own --model"


def test_under_xdist_with_warnings_as_errors_and_without_a_cache(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    strict = ("-W", "error", "-p", "no:cacheprovider", "--model", model)
    assert "2 passed" in run(pytester.path, *strict, "--save-baseline", "b.json")
    spread = run(pytester.path, *strict, "-n", "2", "--baseline", "b.json", "--eval-logs", "kept")
    assert "2 passed" in spread
    assert re.search(r"shift +info +introspection .* within 0.5", spread)
    assert len(list((pytester.path / "kept").rglob("*.eval"))) == 1, "both workers look at one evaluation"
    again = run(pytester.path, *strict, "-n", "2", "--dist", "loadgroup", "--save-baseline", "c.json")
    assert "baseline of 1 evaluation written to c.json" in again
    assert read_records(pytester.path / "b.json")[0].trials == read_records(pytester.path / "c.json")[0].trials
    assert not list(pytester.path.glob(".pytest_cache"))
