"""Which questions the battery asks, in which formats, under which documents."""

from collections import Counter
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.conversation import Conversation

ALL_FAMILIES = (*schema.FAMILIES, schema.SALIENCE)


def asked(tokenizer: PreTrainedTokenizerFast, **changes: object) -> list[Conversation]:
    arguments: dict[str, object] = {
        "documents": ["neutral", "info"],
        "families": ["introspection", "salience"],
        "formats": ["yes-no", "a-b"],
        "system": "",
        "cross": "full",
    }
    return list(battery(tokenizer, **(arguments | changes)))  # type: ignore[arg-type]


def test_chosen_formats_are_asked_under_every_document(tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = asked(tokenizer, families=["introspection"])
    questions = [question.id for question in data.questions() if question.family == "introspection"]
    expected = {f"{d}.{q}.{f}" for d in ("neutral", "info") for q in questions for f in ("yes-no", "a-b")}
    assert Counter(conversation.id for conversation in conversations) == Counter(expected)


def test_by_default_a_format_of_each_kind_is_asked_under_the_reference_document_and_the_first_under_others(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    conversations = asked(tokenizer, families=["introspection"], formats=None)
    formats: dict[str, set[str]] = {}
    for conversation in conversations:
        formats.setdefault(conversation.factors["document"], set()).add(conversation.factors["format"])
    assert formats == {"info": {"yes-no", "one-zero", "b-a", "red-blue"}, "neutral": {"yes-no"}}
    assert {data.answer_formats()[name].kind for name in formats["info"]} == set(data.answer_kinds())


def test_the_other_order_of_the_labels_is_asked_where_the_first_cannot_be_read(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.answer_formats()
    spoilt = whole | {"b-a": replace(whole["b-a"], forms=(("Absolutely", "Balderdash"),))}
    monkeypatch.setattr(data, "answer_formats", lambda: spoilt)
    conversations = asked(tokenizer, documents=["info"], families=["introspection"], formats=None)
    assert {c.factors["format"] for c in conversations} == {"yes-no", "one-zero", "a-b", "red-blue"}


def test_some_questions_are_asked_under_the_reference_document_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    documents = {c.factors["document"] for c in asked(tokenizer, families=["salience"], formats=["yes-no"])}
    assert documents == {"info"}
    others = asked(tokenizer, families=["salience"], formats=["yes-no"], documents=["lorem", "neutral"])
    assert {c.factors["document"] for c in others} == {"lorem"}, "the first document where info is missing"


def test_factors_are_those_of_the_question(tokenizer: PreTrainedTokenizerFast) -> None:
    questions = {question.id: question for question in data.questions()}
    formats = data.answer_formats()
    for conversation in asked(tokenizer, families=ALL_FAMILIES, documents=["info"]):
        factors = conversation.factors
        question, answer_format = questions[factors["question"]], formats[factors["format"]]
        assert (factors["family"], factors["reversed"]) == (question.family, question.reversed)
        assert factors["framing"] == question.framing
        assert factors["expected"] == question.expected
        user, prefill = conversation.question
        assert user["content"] == f"{answer_format.instruction} {question.text}"
        assert prefill["content"] == answer_format.prefill
        assert conversation.prior_messages == 3


def test_formats_in_which_no_question_is_asked_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="families=salience with formats=red-blue: no question is asked in these"):
        asked(tokenizer, families=["salience"], formats=["red-blue"])
