"""The seven experiments in one command: what was finished is kept, and one page shows all of them."""

from pathlib import Path

import pytest

from introbench import cli
from introbench.page import page as pages
from introbench.page import replication
from introbench.page.replication import EXPERIMENTS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _without_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "scripts", lambda: "")


def test_all_experiments_are_run_once_and_shown_on_one_page(
    tiny_folder: Path, tuned_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["replicate", "--model", f"inject/{tiny_folder}", "--logs", str(tmp_path), "--limit", "3"]
    command += ["--finetune", str(tuned_folder)]
    assert cli.main(command) == 0
    logs = sorted(tmp_path.rglob("*.eval"))
    assert len(logs) == len(EXPERIMENTS)
    text = (tmp_path / "report.html").read_text()
    places = [text.index(f"<h2>{heading}") for heading in EXPERIMENTS.values()]
    assert places == sorted(places)
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'report.html'}\n")
    assert cli.main(command) == 0
    assert sorted(tmp_path.rglob("*.eval")) == logs


def test_without_a_fine_tune_the_seventh_is_left_out_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def stopped(tasks: list[str], **_: object) -> tuple[bool, list[object]]:
        asked.append(tasks)
        return False, []

    monkeypatch.setattr(replication, "eval_set", stopped)
    assert cli.main(["replicate", "--model", "inject/other", "--logs", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "experiment 7 is left out: it needs a fine-tune of the model (--finetune ID)" in said
    assert "the same command goes on where it stopped" in said
    assert asked == [[f"introbench/{task}" for task in EXPERIMENTS if task != "model_swap"]]
