"""Baselines: what a file keeps, what it refuses, and that nothing is lost on the way."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import evaluate
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.log import EvalLog, read_eval_log

from introbench.errors import InputError
from introbench.regression import baseline
from introbench.regression.baseline import Record, write_baseline
from introbench.regression.read_baseline import read_records

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": ["info"],
    "families": ["introspection", "always_yes"],
    "formats": ["yes-no"],
    "random_vectors": 1,
    "layers": "1:3",
    "strength": 3,
}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    log = evaluate("introspection", tiny_folder, tmp_path_factory.mktemp("logs"), **SMALL)
    return read_eval_log(log.location, resolve_attachments="core")


@pytest.fixture(scope="module")
def record(log: EvalLog) -> Record:
    return Record.of(log)


def test_a_record_has_every_trial_with_its_exact_numbers(record: Record, log: EvalLog) -> None:
    assert log.samples
    assert sum(map(len, record.trials.values())) == len(log.samples)
    for sample in log.samples:
        assert sample.scores
        exact = sample.scores["introbench/yes_shift"].metadata or {}
        values = record.trials[f"info.{sample.metadata['question']}.yes-no"][sample.metadata["concept"]]
        assert values["shift"] == round(exact["shift"], 6)
        assert values["log_odds"] == round(exact["log_odds"]["sham"], 6)
    assert record.task == "introspection"
    assert record.verdict
    assert record.settings["layers"] == "1:3 of 4"
    assert {"torch", "introbench"} <= record.versions.keys()


def test_a_file_gives_back_what_was_written_and_has_a_line_for_each_trial(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "baseline.json"
    write_baseline(path, [record])
    assert read_records(path) == [record]
    lines = path.read_text().splitlines()
    for concepts in record.trials.values():
        for values in concepts.values():
            assert sum(json.dumps(values, sort_keys=True) in line for line in lines) >= 1
    assert max(map(len, lines)) < 400
    assert [file.name for file in path.parent.iterdir()] == ["baseline.json"]


def test_a_log_is_a_baseline_too(record: Record, log: EvalLog) -> None:
    assert read_records(log.location.removeprefix("file://")) == [record]


@given(st.lists(st.floats() | st.just(math.nan), min_size=1, max_size=4))
def test_numbers_that_are_not_finite_survive(values: list[float]) -> None:
    numbers = {str(at): value if math.isfinite(value) else math.nan for at, value in enumerate(values)}
    questions = {"info.detect.yes-no": {"document": "info", "family": "introspection", "text": "0"}}
    record = Record("t", "1", {}, "m", "r", "now", {}, {}, {}, "", questions, {"info.detect.yes-no": {"cats": numbers}})
    back = Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    for name, value in back.trials["info.detect.yes-no"]["cats"].items():
        assert value == numbers[name] or (math.isnan(value) and math.isnan(numbers[name]))


def _stronger(record: Record) -> Record:
    return replace(record, settings={**record.settings, "strength": "8"})


def _without_a_trial(record: Record) -> Record:
    first = next(iter(record.trials))
    return replace(record, trials={**record.trials, first: {"cats": record.trials[first]["cats"]}})


def _reworded(record: Record) -> Record:
    first = next(iter(record.questions))
    return replace(record, questions={**record.questions, first: {**record.questions[first], "text": "other"}})


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (_stronger, "strength: 3 -> 8"),
        (_without_a_trial, "1 trials before alone, such as info."),
        (_reworded, "1 questions have other texts, such as info."),
        (lambda record: replace(record, task_version="9"), "version: 7 -> 9"),
    ],
)
def test_other_trials_have_another_digest_and_say_what_differs(
    record: Record, change: Callable[[Record], Record], difference: str
) -> None:
    other = change(record)
    assert other.digest != record.digest
    (named,) = record.differences(other)
    assert named.startswith(difference)


def test_another_model_and_other_random_vectors_have_the_same_digest(record: Record) -> None:
    seeded = {"settings": {**record.settings, "seed": 7}, "arguments": {**record.arguments, "seed": 7}}
    other = replace(record, model="inject/other", revision="2", **seeded)
    assert other.digest == record.digest
    assert record.differences(other) == []


def test_a_file_that_was_cut_off_half_way_leaves_the_old_one(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, [record])
    before = path.read_bytes()

    def fails(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(baseline.os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        write_baseline(path, [replace(record, model="other")])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["baseline.json"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "no such file"),
        ("{", "cannot be read"),
        ("[]", "no baseline of format 1"),
        ('{"introbench baseline": 2}', "no baseline of format 1"),
        (
            '{"introbench baseline": 1, "evaluations": [{"task": "x"}]}',
            "'evaluation.task_version' is .*: Field required",
        ),
        ('{"introbench baseline": 1}', "'file.evaluations' is .*: Field required"),
        (
            '{"introbench baseline": 1, "evaluations": [3]}',
            "'file.evaluations.0' is 3: Input should be a valid dictionary",
        ),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(text: str | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint) as refused:
        read_records(path)
    assert "\n" not in str(refused.value)


def test_a_file_whose_trials_were_edited_is_refused(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_baseline(path, [record])
    path.write_text(path.read_text().replace('"strength": "3"', '"strength": "4"', 1))
    with pytest.raises(InputError, match="expected the file as it was written"):
        read_records(path)


def test_a_run_that_failed_is_no_record(log: EvalLog) -> None:
    with pytest.raises(InputError, match="status error"):
        Record.of(log.model_copy(update={"status": "error"}))
