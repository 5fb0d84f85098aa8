"""Which conversations a task asks, as its arguments choose them."""

from pathlib import Path

import pytest
from published_entries import LABEL, control_question, write
from transformers import PreTrainedTokenizerFast

from introbench.tasks.conversations import asked_conversations


@pytest.mark.parametrize("paths", ["~/files", ["~/files"], f"~/files/{LABEL}.json"])
def test_paths_of_published_files_are_taken_as_the_user_means_them(
    paths: str | list[str], tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "files").mkdir()
    write(tmp_path / "files", control_question())
    (conversation,) = asked_conversations(tokenizer, paths, documents=None, families=None, formats=None, system="")
    assert conversation.id == LABEL
