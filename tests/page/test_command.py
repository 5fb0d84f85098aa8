"""The command `introbench report`: the page, the figures' files, and the check."""

from pathlib import Path

import pytest

from introbench import cli
from introbench.page import page as pages

OLD = Path(__file__).parents[1] / "old_logs"


@pytest.fixture(autouse=True)
def _without_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "scripts", lambda: "")


def test_one_page_of_several_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "page.html"
    logs = [str(OLD / f"{task}.eval") for task in ("sweep", "probe")]
    assert cli.main(["report", *logs, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    text = out.read_text()
    assert text.index("sweep: inject/smollm2") < text.index("probe: inject/smollm2")


def test_a_folder_is_all_its_logs_or_the_latest(tmp_path: Path) -> None:
    for task in ("calibrate", "probe"):
        (tmp_path / f"{task}.eval").write_bytes((OLD / f"{task}.eval").read_bytes())
    out = tmp_path / "page.html"
    for latest, count in ((False, 2), (True, 1)):
        assert cli.main(["report", str(tmp_path), "--out", str(out), *(["--latest"] if latest else [])]) == 0
        assert out.read_text().count("<section") == count


def test_the_check_says_what_it_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--check", str(OLD / "calibrate.eval")]) == 0
    assert "the scores of 2 trials and 2 metrics computed again: equal" in capsys.readouterr().out


def test_what_is_no_log_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path / "none.eval")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("introbench: log ")
    assert said.count("\n") == 1
