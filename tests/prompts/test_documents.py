"""Documents are fitted to one model: control documents are as long as the one that they are compared with."""

from typing import Any

from introbench.prompts import data
from introbench.prompts.chat import count_tokens
from introbench.prompts.documents import fitted_texts
from introbench.prompts.schema import Document


def test_control_documents_match_the_length_of_info(tokenizer: Any) -> None:
    texts = fitted_texts(data.documents(), tokenizer)
    assert list(texts) == ["none", "info", "inaccurate", "lorem", "neutral"]
    wanted = count_tokens(tokenizer, texts["info"])
    for name in ("inaccurate", "lorem", "neutral"):
        assert abs(count_tokens(tokenizer, texts[name]) - wanted) <= 0.02 * wanted, name
    assert texts["none"] == ""
    assert texts["inaccurate"] == texts["info"]
    assert fitted_texts(data.documents(), tokenizer) == texts, "the same text in every run"


class WordTokenizer:
    """One token per word: another model's tokens give another text of the right length."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [0 for _ in text.split()]}


def test_lengths_follow_the_models_own_tokens(tokenizer: Any) -> None:
    by_word = fitted_texts(data.documents(), WordTokenizer())
    assert by_word["lorem"] != fitted_texts(data.documents(), tokenizer)["lorem"]
    assert len(by_word["lorem"].split()) == len(by_word["info"].split())
    assert abs(len(by_word["neutral"].split()) - len(by_word["info"].split())) <= 0.02 * len(by_word["info"].split())


def test_sentences_and_fillers_are_chosen_to_come_closest() -> None:
    target = Document("target", "accurate", text="one two three four five six seven")
    by_sentences = Document(
        "other", "accurate", length_of="target", sentences=("a b c.", "d e.", "f g h i."), fillers=("x.", "y z.")
    )
    texts = fitted_texts({"other": by_sentences, "target": target}, WordTokenizer())
    assert texts["other"] == "a b c. d e. y z."


def test_a_document_that_cannot_be_as_long_is_told_to_the_user(told: list[str]) -> None:
    target = Document("target", "accurate", text="one two three four")
    short = Document("short", "accurate", length_of="target", sentences=("a b c.",))
    assert fitted_texts({"target": target, "short": short}, WordTokenizer())["short"] == "a b c."
    assert told == ["document short has 3 tokens where target has 4"]
