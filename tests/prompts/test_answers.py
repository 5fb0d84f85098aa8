"""Which surface forms of answers can be read after a chat's prefill."""

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts.answers import Answers
from introbench.prompts.chat import Chat, tokenize_chat

MESSAGES = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": "The answer is"}]


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return tokenize_chat(tokenizer, MESSAGES, 0)


def test_forms_are_read_with_their_tokens(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> None:
    forms, left_out = Answers.of({"yes": [" yes", " Yes"], "no": [" no", " No"]}).tokens(tokenizer, chat)
    assert left_out == []
    assert {name: [form for form, _ in variants] for name, variants in forms.items()} == {
        "yes": [" yes", " Yes"],
        "no": [" no", " No"],
    }
    for variants in forms.values():
        assert all(tokenizer.decode([token]) == form for form, token in variants)


def test_forms_of_one_shape_are_read_all_or_none(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> None:
    answers = Answers.of({"yes": [" yes", " absolutely-so", " Yes"], "no": [" no", " No", " NO"]})
    forms, left_out = answers.tokens(tokenizer, chat)
    assert [form for form, _ in forms["yes"]] == [" yes", " Yes"]
    assert [form for form, _ in forms["no"]] == [" no", " NO"]
    assert left_out == [" absolutely-so", " No"]


def test_a_form_that_was_read_before_is_left_out(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> None:
    forms, left_out = Answers.of({"yes": [" yes", " no"], "no": [" no", " never"]}).tokens(tokenizer, chat)
    assert {name: [form for form, _ in variants] for name, variants in forms.items()} == {
        "yes": [" yes"],
        "no": [" no"],
    }
    assert left_out == [" no", " never"]


def test_first_tokens_of_long_forms_are_read_if_asked_for(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> None:
    long = " absolutely-so"
    forms, _ = Answers.of({"a": [long], "b": [" no"]}, first_tokens=True).tokens(tokenizer, chat)
    ((_, token),) = forms["a"]
    assert token == tokenizer(chat.text + long, add_special_tokens=False)["input_ids"][len(chat.tokens)]
    with pytest.raises(InputError, match=r"answer form ' absolutely-so': is not one token after '.*The answer is'"):
        Answers.of({"a": [long], "b": [" no"]}).tokens(tokenizer, chat)


def test_answers_with_the_same_token_are_refused(tokenizer: PreTrainedTokenizerFast, chat: Chat) -> None:
    with pytest.raises(InputError, match="answer forms ' no' and ' no': are the same token"):
        Answers.of({"a": [" no"], "b": [" no"]}).tokens(tokenizer, chat)


@pytest.mark.parametrize("first_tokens", [False, True])
@pytest.mark.parametrize("lens", [False, True])
def test_answers_are_the_same_after_a_way_through_json(first_tokens: bool, lens: bool) -> None:
    answers = Answers.of({"yes": [" yes", " Yes"], "no": [" no", " No"]}, first_tokens, lens)
    values = answers.to_json()
    assert values == {
        "forms": {"yes": [" yes", " Yes"], "no": [" no", " No"]},
        "first_tokens": first_tokens,
        "lens": lens,
    }
    assert Answers.from_json(values) == answers
    assert answers.names == ("yes", "no")
