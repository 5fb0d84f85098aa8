"""A taught model is kept in the disk cache, and a command prints where."""

from dataclasses import replace
from pathlib import Path

import pytest

from introbench.models.checkpoint import Checkpoint
from introbench.progress import tell
from introbench.validation import taught as teaching
from introbench.validation.lessons import Course
from introbench.validation.taught import taught

QUICK = Course(lessons=2, epochs=2, openings=40)


@pytest.mark.slow
def test_it_is_taught_once_and_loads_as_any_model(
    tiny_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    folder = taught(checkpoint, QUICK)
    assert own_cache in folder.parents
    made = Checkpoint(str(folder))
    made.check()
    assert made.load().state_dict().keys() == checkpoint.load().state_dict().keys(), "no adapter is left"
    assert made.tokenizer.chat_template == checkpoint.tokenizer.chat_template

    file = next(folder.glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert taught(checkpoint, QUICK) == folder
    assert any("corrupt" in line for line in told)
    assert file.read_bytes() == content, "the same numbers again"

    monkeypatch.delattr(teaching, "teach")
    assert taught(checkpoint, QUICK) == folder
    with pytest.raises(NameError):
        taught(checkpoint, replace(QUICK, seed=1))


@pytest.mark.usefixtures("told")  # which is put back after the command has asked to be told instead
def test_the_command_prints_the_folder_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(_: Checkpoint) -> Path:
        tell("teaching")
        return Path("somewhere")

    monkeypatch.setattr(teaching, "taught", made)
    monkeypatch.setattr("sys.argv", ["taught"])
    teaching.main()
    assert capsys.readouterr() == ("somewhere\n", "introbench: teaching\n")
