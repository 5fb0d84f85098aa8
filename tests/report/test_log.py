"""Every task's log: a first screen that begins with the conclusion, and all tables on demand."""

from dataclasses import replace
from pathlib import Path

import pytest

from introbench import cli
from introbench.analysis.named_values import VALUES
from introbench.errors import InputError
from introbench.report.log import REPORTS, log_table, read_log
from introbench.report.read_log import read_run
from introbench.report.report import MOST_LINES, WIDTH

LOGS = sorted((Path(__file__).parents[1] / "old_logs").glob("*.eval"))


def test_every_task_has_a_report_and_named_values() -> None:
    assert REPORTS.keys() == VALUES.keys()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_the_first_screen_begins_with_the_conclusion_and_is_narrow(path: Path) -> None:
    conclusion, *tables, below = log_table(str(path)).split("\n\n")
    assert len(conclusion.splitlines()) <= MOST_LINES
    assert "It rests on " in conclusion
    assert "\nWhat would " in conclusion
    assert tables
    assert all(len(line) <= WIDTH for line in log_table(str(path)).splitlines())
    assert "trials scored (success)" in below.replace("\n  ", " ")
    assert below.endswith("All tables: introbench table --full. Every trial: inspect view.")


def test_the_introspection_task_leaves_room_for_what_inspect_prints_above_it() -> None:
    introspection = next(path for path in LOGS if path.stem == "introspection")
    assert len(log_table(str(introspection)).splitlines()) <= 20, "forty lines in all, and Inspect prints up to twenty"


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_all_tables_follow_the_first_screen(path: Path) -> None:
    first, full = (log_table(str(path), full=full).split("\n\n") for full in (False, True))
    assert full[: len(first) - 1] == first[:-1]
    assert len(full) > len(first)


def test_an_older_logs_own_verdict_is_told_below_the_present_one() -> None:
    introspection = next(path for path in LOGS if path.stem == "introspection")
    text = log_table(str(introspection)).replace("\n  ", " ")
    assert text.startswith("Verdict under document info: NO EFFECT. ")
    assert "\nThis log's own verdict, by version 1 of the rules: NO EFFECT. The one above is by version 2" in text


def test_the_command_prints_the_first_screen_or_everything(capsys: pytest.CaptureFixture[str]) -> None:
    calibrate = str(next(path for path in LOGS if path.stem == "calibrate"))
    for flags, full in (([], False), (["--full"], True)):
        assert cli.main(["table", calibrate, *flags]) == 0
        assert capsys.readouterr().out == log_table(calibrate, full=full) + "\n"


def test_a_log_without_trials_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(next(path for path in LOGS if path.stem == "calibrate"))
    run = replace(read_run(path), trials=[])
    for status, how in (
        ("error", f"go on with: inspect eval-retry {path}"),
        ("success", "score it, or choose another"),
    ):
        monkeypatch.setattr(
            "introbench.report.log.read_run", lambda *_, status=status, **__: replace(run, status=status)
        )
        with pytest.raises(InputError) as refusal:
            read_log(path)
        assert str(refusal.value).endswith(f"status {status}; {how}")
