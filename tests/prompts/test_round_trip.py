"""Texts are read back from their tokens: a tokenizer that loses text is refused, what it normalises is named."""

from copy import deepcopy
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts.chat import Chat, answer_token, encode, next_token, tokenize_chat
from introbench.prompts.round_trip import normalised, reads_as
from introbench.validation.word_tokenizer import END, UNKNOWN, piece_tokenizer, word_tokenizer

TEXT = "<user>Do you detect a thought?<end>"


_PIECES = piece_tokenizer()


def pieces(normalizer: Any = None) -> Any:
    tokenizer = deepcopy(_PIECES)
    tokenizer._tokenizer.normalizer = normalizer
    return tokenizer


def test_a_tokenizer_that_loses_nothing_normalises_nothing() -> None:
    assert normalised(pieces(), TEXT + " ﬁ \n\n  É") == ()


@pytest.mark.parametrize(
    ("normalizer", "text", "names"),
    [
        (normalizers.Lowercase(), TEXT, ("case",)),
        (normalizers.NFC(), "Cafe\u0301 is open", ("Unicode's composed forms (NFC)",)),
        (normalizers.NFD(), "Café is open", ("Unicode's composed forms (NFC)",)),
        (normalizers.NFKC(), "oﬃce ①", ("Unicode's compatible forms (NFKC)",)),
        (
            normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
            "A Café",
            ("case", "accents"),
        ),
        (normalizers.Replace(Regex(r"\s+"), " "), "one\n\ntwo", ("runs of spaces and line ends",)),
        (normalizers.Prepend(" "), TEXT, ("spaces beside marks",)),
        (normalizers.Strip(), "<user> Do you? <end>", ("spaces beside marks",)),
    ],
)
def test_what_is_normalised_is_named(normalizer: Any, text: str, names: tuple[str, ...]) -> None:
    assert normalised(pieces(normalizer), text) == names


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.Replace(Regex(r"(?<=\w) (?=[a-z]{3,})"), ""),
        normalizers.Replace(" ", ""),
        normalizers.Replace("?", ""),
        normalizers.Replace(" ", UNKNOWN),
    ],
)
def test_a_tokenizer_that_loses_text_is_refused_and_the_text_named(normalizer: Any) -> None:
    with pytest.raises(InputError, match=r"reads '.*(detect|thought).*' as '.*'; expected its tokens to give the text"):
        normalised(pieces(normalizer), TEXT)


def test_chats_are_refused_with_what_is_lost() -> None:
    losing = pieces(normalizers.Replace(Regex(r"(?<=\w) (?=[a-z]{3,})"), ""))
    chat = [{"role": "user", "content": "Do you detect a thought?"}, {"role": "assistant", "content": "It is"}]
    with pytest.raises(InputError, match=r"do you detect a th.*' as '.*doyoudetect"):
        tokenize_chat(losing, chat, 0)


def test_words_without_their_spaces_are_a_documented_way_to_read() -> None:
    assert normalised(word_tokenizer(), TEXT) == ("spaces between words",)
    with pytest.raises(InputError, match="reads"):
        normalised(word_tokenizer(), "<user>supercalifragilistic<end>")


def test_tokens_that_were_run_are_compared_and_not_those_of_the_text() -> None:
    tokenizer = pieces()
    tokens = list(encode(tokenizer, TEXT))
    assert normalised(tokenizer, TEXT, tokens) == ()
    with pytest.raises(InputError, match="reads"):
        normalised(tokenizer, TEXT, [*tokens[:2], *tokens[3:]])


def test_a_form_that_the_tokenizer_does_not_know_is_no_form() -> None:
    words = Tokenizer(models.WordLevel({UNKNOWN: 0, "is": 1, "yes": 2, END: 3}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token=UNKNOWN)
    chat = Chat("is", (1,), 0)
    assert answer_token(tokenizer, chat, " yes") == next_token(tokenizer, chat, " yes") == 2
    assert answer_token(tokenizer, chat, " no") is next_token(tokenizer, chat, " no") is None


def test_a_form_of_another_case_is_the_same_to_a_tokenizer_without_case() -> None:
    tokenizer = pieces(normalizers.Lowercase())
    (yes,) = encode(tokenizer, " Yes")
    assert reads_as(tokenizer, yes, " Yes")
    assert not reads_as(tokenizer, yes, " No")
