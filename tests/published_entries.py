"""Conversation files in the published format, made up, for tests that read them."""

import json
from pathlib import Path
from typing import Any

import pytest

from introbench.errors import InputError
from introbench.prompts.published_files import PublishedConversation, read_published

FIRST = {"role": "user", "content": "Something was put here.\n\nA letter “é” too. ", "add_injection": True}

REPLY = {"role": "assistant", "content": "[ ]", "add_injection": True}

LABEL = "tell_info-manual_fmt-yes-no_no_07"


def conversation(
    label: str, yes: str, no: str, extra: dict[str, Any], ask: str = "Is it?", prefill: str = "I say"
) -> Any:
    """What one file holds: a marked first turn, a question and a reply that goes on."""
    return {
        "label": label,
        "yes_token": yes,
        "no_token": no,
        "extra": extra,
        "messages": [
            {"role": "system", "content": ""},
            dict(FIRST),
            dict(REPLY),
            {"role": "user", "content": ask},
            {"role": "assistant", "content": prefill, "continue_msg": True},
        ],
    }


def control_question() -> Any:
    extra = {"prompt": "tell_info-manual", "format": "fmt-yes-no", "group": "no", "shown": False, "question": "Is it?"}
    return conversation(LABEL, " yes", " no", extra)


def free_text() -> Any:
    turns = [{"role": "user", "content": "Say a thing."}, {"role": "assistant", "content": "A thing:"}]
    return {"label": "say_a_thing", "yes_token": "", "no_token": "", "extra": {}, "messages": turns}


def write(folder: Path, *entries: Any) -> Path:
    for entry in entries:
        name = entry["label"].replace(" ", "_").replace("/", "_")
        (folder / f"{name}.json").write_text(json.dumps(entry, indent=2), encoding="utf-8")
    return folder


def read(folder: Path, entry: Any) -> PublishedConversation:
    """Read one file, whatever it holds."""
    (folder / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    (parsed,) = read_published(folder / "X.json")
    return parsed


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_published(path)
    complaint = str(caught.value)
    assert "\n" not in complaint
    assert complaint.startswith("prompts ")
    assert "expected" in complaint
    return complaint
