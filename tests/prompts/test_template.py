"""Chat templates: one date at any time, the tokenizer's own beginning, and marks that the vocabulary lacks."""

import datetime
from copy import deepcopy
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers.utils import chat_template_utils as clock

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.template import DEFAULT_DATE, own_beginning, parse_date, prepare, split_marks, with_chatml
from introbench.validation.word_tokenizer import BEGIN, piece_tokenizer

CHAT = [
    {"role": "user", "content": "A setting."},
    {"role": "assistant", "content": "[ ]"},
    {"role": "user", "content": "Is it so?"},
    {"role": "assistant", "content": "The answer is"},
]
TURNS = "{% for m in messages %}{{ '<user>' + m.content + '<end>' }}{% endfor %}"


_PIECES = piece_tokenizer()


def pieces() -> Any:
    return deepcopy(_PIECES)


def dated(written: str) -> str:
    """A template that writes the time in some format, from within a macro, after a line end that is kept."""
    return (
        "\n{% macro today() %}{{ strftime_now('" + written + "') }}{% endmacro %}"
        "{% if strftime_now is defined %}{{ today() }}{% endif %}\n  {% if true %}" + TURNS + "{% endif %}"
    )


def at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Let transformers take a moment for the present one."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromisoformat(moment)

    monkeypatch.setattr(clock, "datetime", Clock)


def text_of(tokenizer: Any) -> str:
    return str(tokenizer.apply_chat_template(CHAT, tokenize=False, continue_final_message=True))


@pytest.fixture
def with_bos() -> Any:
    """A tokenizer that puts BOS before every text."""
    tokenizer = pieces()
    begin = tokenizer.convert_tokens_to_ids(BEGIN)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, begin)])
    return tokenizer


@pytest.mark.parametrize("written", ["%d %B %Y", "%Y-%m-%d", "%A, %-d.%-m. at %H:%M: 100%% of %%Y"])
def test_a_template_writes_one_date_at_any_time(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pieces()
    expected.chat_template = dated(written)
    at(monkeypatch, "2026-03-01")
    wanted = text_of(expected)
    tokenizer = pieces()
    prepared = prepare(tokenizer, dated(written), "2026-03-01")
    for moment in ("2026-03-01T23:59:59", "2026-09-30"):
        at(monkeypatch, moment)
        assert text_of(tokenizer) == wanted
    assert text_of(expected) != wanted
    assert prepared.date == "2026-03-01"
    assert prepared.notes[0] == "The chat template writes a date: 2026-03-01 (-M template_date)."


def test_the_date_is_a_stated_one_and_templates_without_one_stay_as_they_are() -> None:
    tokenizer = pieces()
    before = tokenizer.chat_template
    assert prepare(tokenizer).date is None
    assert tokenizer.chat_template == before
    assert prepare(tokenizer, dated("%Y-%m-%d")).date == DEFAULT_DATE
    assert text_of(tokenizer).startswith(f"\n{DEFAULT_DATE}")


def test_a_tokenizer_may_have_several_templates_by_name() -> None:
    tokenizer = pieces()
    tokenizer.chat_template = {"default": dated("%Y"), "tool_use": dated("%d")}
    prepare(tokenizer, date="1999-12-31")
    assert text_of(tokenizer).startswith("\n1999")


def test_dates_are_read_as_text_or_as_yaml_reads_them() -> None:
    assert parse_date("2026-03-01") == parse_date(datetime.date(2026, 3, 1)) == "2026-03-01"
    for bad in ("yesterday", "2026-3-1", "2026-02-30", 20260301, True, datetime.datetime(2026, 3, 1), ["2026-03-01"]):
        with pytest.raises(InputError, match=r"expected a date as YEAR-MONTH-DAY; pass e.g. -M template_date="):
            parse_date(bad)


def test_what_the_tokenizer_puts_first_is_put_first(with_bos: Any) -> None:
    assert own_beginning(with_bos) == (with_bos.bos_token_id,)
    notes = prepare(with_bos, data.chatml(), called="chatml").notes
    chat = tokenize_chat(with_bos, CHAT, 2)
    assert chat.tokens[0] == with_bos.bos_token_id
    assert chat.text == f"{BEGIN}<|im_start|>user\nA setting.<|im_end|>\n" + chat.text.split("\n", 2)[2]
    assert "does not write '<begin>', which the tokenizer puts first; it is put first" in notes[0]
    assert notes[1] == "Marks of chatml that are no single token of this model: '<|im_start|>', '<|im_end|>'."


def test_a_template_that_begins_as_the_tokenizer_does_is_left_alone(with_bos: Any) -> None:
    before = with_bos.chat_template
    assert prepare(with_bos).notes == ()
    assert with_bos.chat_template == before
    assert tokenize_chat(with_bos, CHAT, 2).tokens.count(with_bos.bos_token_id) == 1


def test_a_chat_without_what_the_tokenizer_puts_first_is_refused(with_bos: Any) -> None:
    with_bos.chat_template = TURNS
    with pytest.raises(InputError, match=r"leaves out '<begin>'; expected it first, where the tokenizer itself puts"):
        tokenize_chat(with_bos, CHAT, 2)


def test_marks_that_are_single_tokens_are_not_mentioned(tokenizer: Any) -> None:
    chatml = deepcopy(tokenizer)
    assert prepare(chatml, data.chatml()).notes == ()
    assert split_marks(chatml) == []


def test_the_shipped_template_is_a_remedy_only_where_its_marks_are_tokens(tokenizer: Any) -> None:
    assert with_chatml(tokenizer) is not None
    assert with_chatml(pieces()) is None


def test_a_tokenizer_that_takes_no_notice_of_templates_gets_none() -> None:
    class Deaf:
        chat_template = None

        def apply_chat_template(self, messages: Any, **_options: Any) -> str:
            return "[INST]" + messages[0]["content"]

    with pytest.raises(InputError, match="class Deaf: takes no notice of chat templates"):
        prepare(Deaf(), data.chatml())
