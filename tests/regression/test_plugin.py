"""The pytest plugin in its users' projects: their tests, their mistakes, their options, their processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_runs import OWN, change_shifts

from introbench.regression.read_baseline import read_records
from introbench.regression.run_state import NO_BASELINE

pytest_plugins = ["pytester"]


@pytest.mark.slow
def test_a_users_own_file(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    alone = pytester.runpytest_inprocess("-rs")
    alone.assert_outcomes(skipped=2)
    without = pytester.runpytest_inprocess("--introbench-model", model)
    without.assert_outcomes(passed=1, skipped=1)
    without.stdout.fnmatch_lines([f"1 skipped: {NO_BASELINE}"])
    pytester.runpytest_inprocess("--introbench-model", model, "--introbench-save-baseline", "b.json").assert_outcomes(
        passed=2
    )
    held = pytester.runpytest_inprocess(
        "--introbench-model", model, "--introbench-baseline", "b.json", "--introbench-eval-logs", "kept"
    )
    held.assert_outcomes(passed=2)
    logs = list((pytester.path / "kept").rglob("*.eval"))
    assert len(logs) == 1, "what two tests ask for is run once"
    assert read_records(logs[0])[0].trials == read_records(pytester.path / "b.json")[0].trials


def test_a_change_beyond_the_budget_fails_with_the_trials_that_changed_most(
    pytester: pytest.Pytester, model: str
) -> None:
    pytester.makepyfile(OWN)
    pytester.runpytest_inprocess("--introbench-model", model, "--introbench-save-baseline", "b.json").assert_outcomes(
        passed=2
    )
    change_shifts(pytester.path / "b.json", by=1.0)
    result = pytester.runpytest_inprocess("--introbench-model", model, "--introbench-baseline", "b.json")
    result.assert_outcomes(passed=1, failed=1)
    printed = str(result.stdout)
    assert "shift changed by more than 0.5 on these wordings in 1 of 2 means" in printed
    assert "Trials that changed most:" in printed
    assert re.search(r"info\.[a-z-]+\.yes-no\.(cats|bread): shift", printed)
    result.stdout.re_match_lines(
        [r"shift .* introspection .* CHANGED by more than 0.5", r"shift .* always_no .* within 0.5"]
    )


@pytest.mark.slow
def test_other_trials_than_those_of_the_baseline_are_refused(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    pytester.runpytest_inprocess("--introbench-model", model, "--introbench-save-baseline", "b.json").assert_outcomes(
        passed=2
    )
    pytester.makepyfile(OWN.replace("strength=3", "strength=4"))
    result = pytester.runpytest_inprocess("--introbench-model", model, "--introbench-baseline", "b.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["trials of introspection with digest *; strength: 3 -> 4; run the same*"])
    assert "Captured log" not in str(result.stdout)
    assert "another exception" not in str(result.stdout)


@pytest.mark.slow
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
    saved = pytester.runpytest_inprocess(
        "--introbench-model", model, "--introbench-save-baseline", "b.json", "-k", "one_concept"
    )
    saved.stdout.fnmatch_lines(["baseline of 1 evaluation written to b.json"])
    result = pytester.runpytest_inprocess("--introbench-model", model, "--introbench-baseline", "b.json")
    result.assert_outcomes(failed=7)
    printed = str(result.stdout)
    for line in (
        "introbench/nothing on inject/",
        "documents='infos': expected one of none, info",
        "metric 'shift': no interval for introspection under info, always_no under info: expected two or more concepts",
        "metric 'acc': expected one of log_odds, random, shift; correct it",
        "families=always_on: expected some of introspection, always_no; correct it",
        "result 'introspection - always_yes | info': expected one of introspection - always_no | info",
        "its trials have no family, question, format, concept",
    ):
        assert line in printed, line
    assert "b.json" not in str(
        pytester.runpytest_inprocess("--co", "--introbench-model", model, "--introbench-save-baseline", "c.json")
    )
    assert not (pytester.path / "c.json").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--introbench-model", "openai/gpt"],
            "--introbench-model openai/gpt: cannot be injected into; expected inject/NAME",
        ),
        (["--introbench-save-baseline", "b.json"], "--introbench-save-baseline with 0 models: expected one"),
        (
            [
                "--introbench-model",
                "inject/a",
                "--introbench-model",
                "inject/b",
                "--introbench-save-baseline",
                "b.json",
            ],
            "--introbench-save-baseline with 2 models",
        ),
        (["--introbench-baseline", "nothing.json"], "--introbench-baseline: baseline 'nothing.json': no such file"),
        (
            ["--introbench-model", "inject/a", "--introbench-save-baseline", "."],
            "--introbench-save-baseline .: cannot be written",
        ),
        (["--introbench-budget", "nan"], "'nan': expected a number of nats above 0"),
        (["--introbench-budget", "0"], "'0': expected a number of nats above 0"),
        (["--introbench-T", "x=["], "is no YAML"),
        (["--introbench-M", "dtype"], "'dtype' after --introbench-M or --introbench-T: expected KEY=VALUE"),
    ],
)
def test_options_that_cannot_be_served_are_refused_at_once(
    pytester: pytest.Pytester, options: list[str], complaint: str
) -> None:
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert complaint in str(result.stderr)
    assert "Traceback" not in str(result.stderr)


@pytest.mark.slow
def test_several_models_one_after_the_other_and_their_arguments(
    pytester: pytest.Pytester, model: str, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").symlink_to(tiny_folder)
    pytester.makepyfile(OWN)
    result = pytester.runpytest_inprocess(
        *("--introbench-model", model, "--introbench-model", f"inject/{tmp_path / 'other'}"),
        *("--introbench-M", "dtype=bfloat16", "--introbench-eval-logs", "kept", "-v"),
    )
    result.assert_outcomes(passed=2, skipped=2)
    order = re.findall(r"test_\w+\[(inject/\S+)\]", str(result.stdout))
    assert sorted(set(order), key=order.index) == [model, f"inject/{tmp_path / 'other'}"]
    assert order[0] == order[1], "all of a model's tests before the next model is loaded"
    logs = [read_records(path)[0] for path in (pytester.path / "kept").rglob("*.eval")]
    assert sorted(record.model for record in logs) == sorted(set(order))


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


def test_a_project_has_its_own_options_markers_and_fixtures(pytester: pytest.Pytester) -> None:
    names = ("--model", "--baseline", "--save-baseline", "--budget", "--eval-logs", "-M", "-T")
    pytester.makeconftest(
        f"""
        import pytest

        def pytest_addoption(parser):
            for name in {names!r}:
                parser.addoption(name, dest="own" + name, default="default")

        @pytest.fixture
        def baseline(request):
            return [request.config.getoption(name) for name in ("own--model", "own--budget", "own-M")]
        """
    )
    pytester.makeini("[pytest]\naddopts = --strict-markers\nmarkers =\n    science: slow physics\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.science
        def test_it(baseline, pytestconfig):
            assert baseline == ["x", "default", "3"]
            assert not [line for line in pytestconfig.getini("markers") if "introbench" in line]
        """
    )
    pytester.runpytest_inprocess("--model", "x", "-M", "3", "-m", "science").assert_outcomes(passed=1)
    both = ("--pyargs", "introbench.regression", "--introbench-model", "openai/gpt", "--introbench-budget=0.2")
    refused = pytester.runpytest_inprocess(*both)
    assert "--introbench-model openai/gpt: cannot be injected into" in str(refused.stderr)


def test_short_names_are_those_of_the_shipped_checks(pytester: pytest.Pytester) -> None:
    of_checks = pytester.runpytest_inprocess("--pyargs", "introbench.regression", "--model", "openai/gpt")
    assert "openai/gpt: cannot be injected into" in str(of_checks.stderr)
    pytester.makepyfile("def test_it(): pass")
    own = pytester.runpytest_inprocess("--model", "openai/gpt")
    assert own.ret == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --model" in str(own.stderr)


@pytest.mark.slow
def test_under_xdist_with_warnings_as_errors_and_without_a_cache(pytester: pytest.Pytester, model: str) -> None:
    pytester.makepyfile(OWN)
    strict = ("-W", "error", "-p", "no:cacheprovider", "--introbench-model", model)
    pytester.runpytest_inprocess(*strict, "--introbench-save-baseline", "b.json").assert_outcomes(passed=2)
    spread = run(pytester.path, *strict, "-n", "2", "--introbench-baseline", "b.json", "--introbench-eval-logs", "kept")
    assert "2 passed" in spread
    assert re.search(r"shift +info +introspection .* within 0.5", spread)
    assert len(list((pytester.path / "kept").rglob("*.eval"))) == 1, "both workers look at one evaluation"
    again = run(pytester.path, *strict, "-n", "2", "--dist", "loadgroup", "--introbench-save-baseline", "c.json")
    assert "baseline of 1 evaluation written to c.json" in again
    assert read_records(pytester.path / "b.json")[0].trials == read_records(pytester.path / "c.json")[0].trials
    assert not list(pytester.path.glob(".pytest_cache"))
