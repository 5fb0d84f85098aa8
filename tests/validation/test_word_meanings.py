"""The mean of the words' numbers over a text says what the text is about."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from introbench.prompts import data
from introbench.prompts.battery import battery
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.conversation import Conversation
from introbench.prompts.schema import FAMILIES, SALIENCE
from introbench.validation.word_meanings import SENSES, TELLING_DOCUMENTS, Sense, make_sense
from introbench.validation.word_tokenizer import word_tokenizer


@cache
def sense(seed: int) -> Sense:
    return make_sense(word_tokenizer(), np.random.default_rng(seed))


def means(numbers: torch.Tensor, tokens: tuple[int, ...]) -> list[float]:
    """Mean numbers of the words in some tokens that have any."""
    counted = [token for token in tokens if token in sense(0).content]
    return numbers[counted].mean(dim=0).tolist()


def asked(documents: Sequence[str], families: Sequence[str]) -> list[Conversation]:
    return list(battery(word_tokenizer(), documents=documents, families=families, formats=["yes-no"], system=""))


@pytest.mark.slow
def test_the_mean_over_a_question_says_what_it_is_about() -> None:
    for conversation in asked(["none"], [*FAMILIES, SALIENCE]):
        chat = tokenize_chat(word_tokenizer(), conversation.messages, conversation.prior_messages)
        of_sense = dict(zip(SENSES, means(sense(0).questions, chat.question_tokens), strict=True))
        factors = conversation.factors
        side = -1 if factors["reversed"] else 1
        assert of_sense["introspective"] == pytest.approx(side * (factors["family"] == "introspection"), abs=1e-4)
        assert of_sense["salient"] == pytest.approx(side * (factors["family"] == "salience"), abs=1e-4)


def test_the_mean_over_a_document_says_whether_it_tells_of_injections() -> None:
    first = {c.factors["document"]: c for c in asked([*data.documents()], ["introspection"])}
    assert set(first) == set(data.documents())
    for document, conversation in first.items():
        chat = tokenize_chat(word_tokenizer(), conversation.messages, conversation.prior_messages)
        mean = means(sense(0).telling[:, None], chat.prior_tokens)
        assert mean == pytest.approx([float(document in TELLING_DOCUMENTS)], abs=1e-4)


def test_baselines_and_noise_are_drawn_from_the_generator() -> None:
    leaning = SENSES.index("leaning")
    assert torch.equal(sense(1).questions, make_sense(word_tokenizer(), np.random.default_rng(1)).questions)
    assert not torch.allclose(sense(1).questions[:, leaning], sense(2).questions[:, leaning])
    torch.testing.assert_close(sense(1).questions[:, :2], sense(2).questions[:, :2])
