"""The tokenizers of planted and tiny models."""

from introbench.prompts import data
from introbench.validation.word_tokenizer import (
    ASSISTANT,
    BEGIN,
    END,
    NOUNS,
    OVER,
    UNKNOWN,
    USER,
    piece_tokenizer,
    word_tokenizer,
)

CHAT = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": "The answer is"}]


def test_every_word_of_the_texts_and_every_noun_is_one_token() -> None:
    tokenizer = word_tokenizer()
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for question in data.questions():
        assert unknown not in tokenizer(question.text)["input_ids"]
    assert all(len(tokenizer(noun)["input_ids"]) == 1 for noun in NOUNS)
    assert unknown not in tokenizer(" ".join(NOUNS))["input_ids"]
    assert tokenizer("xylophone")["input_ids"] == [unknown]


def test_turns_are_rendered_with_their_marks() -> None:
    for tokenizer in (word_tokenizer(), piece_tokenizer()):
        text = tokenizer.apply_chat_template(CHAT, tokenize=False)
        assert text == f"{BEGIN}{USER}Is it so?{END}{ASSISTANT}The answer is{OVER}"


def test_pieces_give_back_their_text_and_have_a_beginning() -> None:
    tokenizer = piece_tokenizer()
    for text in (data.questions()[0].text, "A xylophone, \u00e9\u4e2d!"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert tokenizer.bos_token == BEGIN
