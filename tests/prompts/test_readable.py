"""Conversations are tokenised once for each tokenizer, template and set of answers."""

from unittest.mock import patch

from transformers import PreTrainedTokenizerFast

from introbench.prompts import chat as chats
from introbench.prompts.answers import Answers
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.readable import RoleAndContent, read_chat

YES_NO = Answers.of({"yes": [" yes", " absolutely-so"], "no": [" no", " No"]})
TURNS: RoleAndContent = (("user", "Hello."), ("assistant", "Hi."), ("user", "Is it so?"), ("assistant", "It is"))


def test_tokens_and_forms_are_those_of_the_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    readable = read_chat(tokenizer, TURNS, 2, YES_NO)
    chat = tokenize_chat(tokenizer, [{"role": role, "content": content} for role, content in TURNS], 2)
    assert readable.chat == chat
    assert (readable.forms, readable.left_out) == YES_NO.tokens(tokenizer, chat)


def test_what_was_tokenised_is_looked_up_and_what_differs_is_not(tokenizer: PreTrainedTokenizerFast) -> None:
    first = read_chat(tokenizer, TURNS, 2, YES_NO)
    with patch.object(chats, "encode", wraps=chats.encode) as encode:
        assert read_chat(tokenizer, TURNS, 2, YES_NO) is first
        assert not encode.called
        alone = read_chat(tokenizer, TURNS, 0, YES_NO)
        others = read_chat(tokenizer, TURNS, 2, Answers.of({"yes": [" yes"], "no": [" no"]}))
        assert encode.called
    assert (alone.chat.prior, others.left_out) == (0, [])


def test_another_template_is_read_anew(tokenizer: PreTrainedTokenizerFast) -> None:
    before = read_chat(tokenizer, TURNS, 2, YES_NO)
    with patch.object(tokenizer, "chat_template", "BEGIN " + str(tokenizer.chat_template)):
        after = read_chat(tokenizer, TURNS, 2, YES_NO)
    assert after.chat.text == f"BEGIN {before.chat.text}"
