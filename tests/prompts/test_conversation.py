"""The prior turn that conversations begin with, and the check that a model's template keeps a conversation as it is."""

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.conversation import Conversation, checked, opening, openings, question_turns, yes_no


@pytest.mark.parametrize("system", [None, "", "Be brief."])
def test_the_prior_turn_is_setting_document_and_location_sentence(system: str | None) -> None:
    turns = opening(" A document.\n", "accurate", system)
    setting = data.setting()
    assert [turn["role"] for turn in turns] == [*(["system"] if system is not None else []), "user", "assistant"]
    assert system is None or turns[0]["content"] == system
    assert turns[-2]["content"] == f"{setting.setting}\n\nA document.\n\n{setting.location['accurate']}"
    assert turns[-1]["content"] == setting.reply
    without = opening("", "inaccurate", None)
    assert without[0]["content"] == f"{setting.setting}\n\n{setting.location['inaccurate']}"


def test_documents_with_one_text_differ_in_their_location_sentence(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = openings(tokenizer, ["inaccurate", "info"], None)
    assert list(turns) == ["inaccurate", "info"]
    location = data.setting().location
    accurate, inaccurate = (turns[name][0]["content"] for name in ("info", "inaccurate"))
    assert accurate.removesuffix(location["accurate"]) == inaccurate.removesuffix(location["inaccurate"])


def conversation(answers: Answers) -> Conversation:
    prior = opening("", "accurate", "")
    return Conversation("x", (*prior, *question_turns("Is it so?", "The answer is")), len(prior), answers, {})


def test_a_conversation_is_checked_with_its_answers(tokenizer: PreTrainedTokenizerFast) -> None:
    kept = conversation(yes_no(data.answer_formats()["yes-no"], lens=True))
    assert checked(tokenizer, kept) is kept
    assert kept.answers.names == ("yes", "no")
    assert kept.answers.lens
    assert [turn["content"] for turn in kept.question] == ["Is it so?", "The answer is"]
    with pytest.raises(InputError, match="is not one token"):
        checked(tokenizer, conversation(Answers.of({"a": [" absolutely-so"], "b": [" no"]})))
