"""Lists of concepts in balanced orders, and wordings that a concept's name completes."""

from collections import Counter

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.conversation import Conversation
from introbench.prompts.identification import identification

CONCEPTS = ("cats", "bread", "music")


def asked(tokenizer: PreTrainedTokenizerFast, **changes: object) -> list[Conversation]:
    arguments: dict[str, object] = {
        "concepts": CONCEPTS,
        "documents": ["none"],
        "parts": ["list", "naming"],
        "replicates": 2,
        "system": "",
        "seed": 0,
    }
    return list(identification(tokenizer, **(arguments | changes)))  # type: ignore[arg-type]


def test_every_option_stands_at_each_label_equally_often(tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = asked(tokenizer, parts=["list"])
    uses = Counter(pair for conversation in conversations for pair in conversation.factors["options"].items())
    assert uses == {(label, option): 2 for label in "0123" for option in ("", *CONCEPTS)}
    nothing = data.list_question().nothing
    for conversation in conversations:
        text = conversation.question[0]["content"]
        for label, option in conversation.factors["options"].items():
            line = data.list_question().option.format(label=label, name=option or nothing)
            assert line in text.splitlines()
        assert conversation.answers.names == tuple("0123")


def test_concepts_are_named_after_every_wording(tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = asked(tokenizer, parts=["naming"], documents=["none", "info"])
    wordings = [question.id for question in data.naming_questions()]
    assert [c.id for c in conversations] == [f"{d}.naming.{w}" for d in ("none", "info") for w in wordings]
    for conversation in conversations:
        assert conversation.answers.names == CONCEPTS
        assert conversation.answers.first_tokens
        assert conversation.answers.lens
        assert conversation.factors["options"] == {concept: concept for concept in CONCEPTS}


def test_a_concept_is_called_by_its_description_and_stays_itself(tokenizer: PreTrainedTokenizerFast) -> None:
    described, plain = asked(tokenizer, descriptions={"bread": "insecure code"}), asked(tokenizer)
    for conversation, other in zip(described, plain, strict=True):
        assert conversation.factors == other.factors
        text, plain_text = (each.question[0]["content"] for each in (conversation, other))
        assert text == plain_text.replace(" bread", " insecure code")
        if conversation.factors["family"] == "list":
            assert "insecure code" in text
        else:
            assert dict(conversation.answers.forms)["bread"] == (" insecure code",)
            assert dict(conversation.answers.forms)["cats"] == (" cats",)


def test_orders_depend_on_the_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = ([c.messages for c in asked(tokenizer, seed=seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_long_lists_have_letters_and_too_long_ones_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    ten = [f"concept{number}" for number in range(10)]
    (first, *_) = asked(tokenizer, parts=["list"], concepts=ten, replicates=1)
    assert first.answers.names == tuple("ABCDEFGHIJK")
    with pytest.raises(InputError, match="52 concepts: expected at most 51"):
        asked(tokenizer, parts=["list"], concepts=[f"concept{number}" for number in range(52)])
