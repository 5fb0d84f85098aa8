"""What a log says of its chats: each prior turn with its marks, the template's date, and what a reader has to know."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.battery import battery
from introbench.prompts.conversation import Conversation
from introbench.tasks.chat_facts import chat_facts, facts_of_chat
from introbench.validation.word_tokenizer import piece_tokenizer

_PIECES = piece_tokenizer()
CLOCK = "{{ '<begin><system>Today is ' + strftime_now('%d %B %Y') + '<end>' }}"


class Named:
    """A model with a tokenizer, without its weights."""

    def __init__(self, folder: Path, change: Any = None, **options: Any) -> None:
        self.folder = folder
        tokenizer = deepcopy(_PIECES)
        if change:
            change(tokenizer)
        checkpoint = Checkpoint(str(folder), **options)
        checkpoint.__dict__["_loaded_tokenizer"] = tokenizer
        self.checkpoint = checkpoint

    def asked(self, system: str | None = None, formats: Any = ("yes-no",)) -> list[Conversation]:
        tokenizer = self.checkpoint.tokenizer
        chosen = {"documents": ["none"], "families": ["always_no"], "formats": formats}
        return list(battery(tokenizer, system=system, **chosen))[:6]

    def facts(self, system: str | None = None, formats: Any = ("yes-no",)) -> dict[str, Any]:
        return chat_facts(self.checkpoint, self.asked(system, formats), formats)


def test_prior_turns_are_in_the_log_with_their_marks(tmp_path: Path) -> None:
    facts = Named(tmp_path).facts("Be brief.")
    (prior,) = facts["prior_turns"]
    assert prior.startswith("<begin><system>Be brief.<end><user>" + data.setting().setting[:40])
    assert prior.endswith("<end><assistant>[ ]<over>")
    assert set(facts) == {"vocabulary", "prior_turns"}


def test_a_system_text_of_the_template_is_said(tmp_path: Path) -> None:
    def own(tokenizer: Any) -> None:
        tokenizer.chat_template = "{% if messages[0].role != 'system' %}<system>I am Marvin<end>{% endif %}" + (
            tokenizer.chat_template
        )

    model = Named(tmp_path, own)
    expected = "The chat template writes a text of its own before the first turn: 'I am Marvin'."
    assert model.facts(None)["notes"] == [expected]
    assert "notes" not in model.facts("")
    assert facts_of_chat(model.checkpoint, data.top_of_mind())["notes"] == [expected]


@pytest.mark.parametrize(("given", "written"), [(None, "01 January 2025"), ("2026-03-01", "01 March 2026")])
def test_the_date_of_the_template_is_said(tmp_path: Path, given: str | None, written: str) -> None:
    def dated(tokenizer: Any) -> None:
        tokenizer.chat_template = tokenizer.chat_template.replace("{{ '<begin>' }}", CLOCK)

    facts = Named(tmp_path, dated, template_date=given).facts()
    assert facts["template_date"] == (given or "2025-01-01")
    assert facts["prior_turns"][0].startswith(f"<begin><system>Today is {written}<end>")
    assert len(facts["notes"]) == 2


def test_what_the_tokenizer_normalises_is_said(tmp_path: Path) -> None:
    def lower(tokenizer: Any) -> None:
        tokenizer._tokenizer.normalizer = normalizers.Lowercase()

    model = Named(tmp_path, lower)
    assert model.facts()["notes"] == ["The tokenizer normalises what it reads: case."]


def test_answer_formats_that_do_not_fit_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = dict(data.answer_formats())
    formats["a-b"] = type(formats["a-b"])(**{**vars(formats["a-b"]), "forms": ((" Antananarivo", " Bratislava"),)})
    monkeypatch.setattr(data, "answer_formats", lambda: formats)
    model = Named(tmp_path)
    (note,) = model.facts(formats=None)["notes"]
    assert note == "Answer formats that are left out: a-b (answer form ' Antananarivo': is not one token)."
    assert "notes" not in model.facts(formats=("yes-no",))
