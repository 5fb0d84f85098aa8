"""Self-checks of texts and tokens fail when their cause is planted."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Regex, normalizers
from tokenizers.processors import TemplateProcessing

from introbench.checks.text_checks import text_checks
from introbench.engine import Want
from introbench.errors import SelfCheckError
from introbench.prompts.chat import answer_token, tokenize_chat
from introbench.prompts.tokenized import QuestionSource, TokenizedQuestion
from introbench.validation.word_tokenizer import BEGIN, piece_tokenizer

TURNS = (("user", "Do you detect a thought?"), ("assistant", "[ ]"), ("user", "Is it so?"), ("assistant", "It is"))
_PIECES = piece_tokenizer()


@pytest.fixture
def pieces() -> Any:
    return deepcopy(_PIECES)


def question(tokenizer: Any) -> TokenizedQuestion:
    chat = tokenize_chat(tokenizer, [{"role": role, "content": content} for role, content in TURNS], 2)
    token = answer_token(tokenizer, chat, " yes")
    assert token is not None
    return TokenizedQuestion(chat, Want((token,)), QuestionSource(TURNS, 2, (" yes",)))


def test_a_question_that_is_as_it_was_written_passes(pieces: Any) -> None:
    assert set(text_checks(pieces, question(pieces)).values()) == {"ok"}


def test_a_chat_that_does_not_begin_as_the_tokenizer_does_is_found(pieces: Any) -> None:
    pieces.chat_template = pieces.chat_template.replace(BEGIN, "")
    asked = question(pieces)
    assert text_checks(pieces, asked)["one BOS"] == "ok"
    begin = pieces.convert_tokens_to_ids(BEGIN)
    pieces._tokenizer.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, begin)])
    with pytest.raises(SelfCheckError, match="\"one BOS\": found '<user>' first, expected '<begin>'"):
        text_checks(pieces, asked)


def test_text_that_is_lost_is_found_and_named(pieces: Any) -> None:
    asked = question(pieces)
    chat = replace(asked.chat, tokens=(*asked.chat.tokens[:3], *asked.chat.tokens[4:]))
    with pytest.raises(SelfCheckError, match=r'"round trip": found tokenizer of .*reads .*detect'):
        text_checks(pieces, replace(asked, chat=chat))
    pieces._tokenizer.normalizer = normalizers.Replace(Regex(r"(?<=\w) (?=[a-z]{3,})"), "")
    spoilt = replace(asked.chat, tokens=tuple(pieces(asked.chat.text, add_special_tokens=False)["input_ids"]))
    with pytest.raises(SelfCheckError, match=r'"round trip": found tokenizer of .*reads .*detect'):
        text_checks(pieces, replace(asked, chat=spoilt))


def test_a_prior_turn_inside_the_chat_is_checked_before_another_question(pieces: Any) -> None:
    pieces.chat_template = pieces.chat_template.replace("'<over>' if", "'<unknown>' if loop.last else '<over>' if")
    asked = question(pieces)
    assert asked.chat.prior_text.endswith("[ ]<over>")
    assert text_checks(pieces, asked)["prefix stable"] == "ok"
    for prior_text in (asked.chat.prior_text.removesuffix("[ ]<over>"), asked.chat.prior_text + "<user>Is it so?<end>"):
        prior = len(pieces(prior_text, add_special_tokens=False)["input_ids"])
        with pytest.raises(SelfCheckError, match='"prefix stable": found a prior turn that ends in'):
            text_checks(pieces, replace(asked, chat=replace(asked.chat, prior=prior, prior_text=prior_text)))
    pieces.chat_template = pieces.chat_template.replace("<user>", "<user>").replace(
        "{{ '<begin>' }}", "{{ '<begin>' + ('!' if 'another' in messages[-2].content else '') }}"
    )
    with pytest.raises(SelfCheckError, match='"prefix stable": found another prior turn before another question'):
        text_checks(pieces, asked)
