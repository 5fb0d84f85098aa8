"""Every evaluation that the documents and the docstrings show runs, on a tiny model and on its first trials."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import evaluate
from inspect_ai._util.config import parse_cli_args  # what `inspect eval` makes of -T
from published_entries import control_question, conversation, write
from shown_commands import COMMANDS, ROOT, TASKS, code_blocks, words_after

NEEDS_MORE = ("--model-role", "--model-base-url", "engine=vllm")
"""In commands that ask for a grader or a server, which have tests of their own."""
RECIPES = {
    (" ".join(words[2:])): pytest.param(words, id=f"{place}-{number}")
    for number, (place, words) in enumerate(COMMANDS)
    if tuple(Path(word).name for word in words[:2]) == ("inspect", "eval") or words[:2] == ["uv", "run"]
    if not any(word in NEEDS_MORE for word in words)
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder with the files that the commands name."""
    (questions,) = code_blocks(ROOT / "docs/index.md", "yaml")
    (tmp_path / "mine.yml").write_text(questions, encoding="utf-8")
    (tmp_path / "FOLDER").mkdir()
    np.save(tmp_path / "FOLDER/tuned.npy", np.ones((4, 32), dtype=np.float32))
    for name, entry in (
        ("introspection_yes_shift_prompts", conversation("ask_info-none_fmt-yes-no", " yes", " no", {})),
        ("control_questions_prompts", control_question()),
    ):
        folder = tmp_path / "prompts" / name
        folder.mkdir(parents=True)
        write(folder, entry)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", RECIPES.values())
def test_an_evaluation_that_is_shown_runs(
    words: list[str], tiny_folder: Path, tuned_folder: Path, tmp_path: Path
) -> None:
    (named,) = [word for word in words if Path(word).stem in TASKS]
    arguments: dict[str, Any] = parse_cli_args(words_after(words, "-T"))
    # The tiny model has no adapter of its own, and the fine-tunes that are named are those of other models.
    if Path(named).stem == "model_swap":
        arguments["finetune"] = str(tuned_folder)
    log = evaluate(Path(named).stem, tiny_folder, tmp_path / "logs", limit=2, **arguments)
    assert log.status == "success", log.error
    assert log.samples
    assert not [sample.error for sample in log.samples if sample.error]
