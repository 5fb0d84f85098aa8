"""`introbench compare`: the paired table of two files, and its exit status."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from paired_records import record

from introbench.cli import main
from introbench.regression.baseline import Record, write_baseline


def compared(folder: Path, before: list[Record], now: list[Record], *options: str) -> int:
    for name, records in (("before.json", before), ("now.json", now)):
        write_baseline(folder / name, records)
    return main(["compare", str(folder / "before.json"), str(folder / "now.json"), *options])


def test_a_change_beyond_the_budget_has_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = replace(record(shift=0.3), model="inject/b")
    assert compared(tmp_path, [record()], [now]) == 0
    # Controls are pushed toward yes; reversed questions, which say "noticed" by a no, leave them by twice as much.
    assert compared(tmp_path, [record()], [now], "--budget", "0.7", "--metric", "shift") == 0
    capsys.readouterr()
    assert compared(tmp_path, [record()], [now], "--budget", "0.2") == 1
    printed = capsys.readouterr().out
    assert "model: inject/a -> inject/b" in printed
    assert "CHANGED by more than 0.2" in printed
    assert "Trials that changed most:" in printed


def test_answers_without_injection_count_too(tmp_path: Path) -> None:
    assert compared(tmp_path, [record()], [record(level=2.0)], "--budget", "0.1") == 1


def test_what_is_not_known_has_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = record()
    for concepts in now.trials.values():
        for values in concepts.values():
            values["shift"] = math.nan
    assert compared(tmp_path, [record()], [now], "--budget", "0.1") == 1
    assert "not known" in capsys.readouterr().out


def test_an_evaluation_of_one_file_alone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(record(), task="identification")
    for before, now in (([record(), other], [record()]), ([record()], [record(), other])):
        assert compared(tmp_path, before, now, "--budget", "0.1") == 1
        assert "identification: in one of the files alone" in capsys.readouterr().out


def test_of_several_on_the_same_trials_that_with_the_same_seed_is_the_partner(tmp_path: Path) -> None:
    seeded = [replace(record(shift=float(seed)), arguments={"seed": seed}) for seed in (0, 1)]
    assert compared(tmp_path, seeded, seeded[::-1], "--budget", "0.1") == 0


def test_other_trials_and_wrong_budgets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(tmp_path, [record()], [replace(record(), settings={"layers": "1:3 of 4"})]) == 2
    assert "layers: none -> 1:3 of 4" in capsys.readouterr().err
    for budget in ("nan", "0"):
        with pytest.raises(SystemExit):
            compared(tmp_path, [record()], [record()], "--budget", budget)
        assert "expected a number of nats above 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path / "before.json")])
