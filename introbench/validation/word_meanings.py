"""What the words of the battery mean to a planted model: numbers whose mean over a text says what the text is.

A question's words are given numbers such that their mean is the question's: whether it is about an injection, and on
which side a yes would be; how the model answers it by itself; how steering disturbs its answer. They are found by least
squares over all questions at once, exactly. The documents' words say in the same way whether a text tells of
injections.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.chat import encode, tokenize_chat
from introbench.prompts.conversation import Conversation
from introbench.validation.word_tokenizer import SPECIAL

NOISES = 4
"""How many ways there are in which steering disturbs a question's answer."""

SENSES = ("introspective", "salient", "leaning", "jolted", *(f"noise {number}" for number in range(NOISES)))
"""What a question's words say; see `Sense`."""

LEANINGS = {
    "introspection": -2.0,
    "salience": -1.5,
    "always_no": -3.0,
    "always_yes": 3.0,
    "ambiguous": 0.0,
    "confusing": -1.0,
}
"""Mean log-odds of yes by family, in nats, on plain questions; reversed ones have the opposite."""

LEANING_SPREAD = 1.0

TELLING_DOCUMENTS = ("info", "inaccurate")
"""Those that tell of injections."""


@dataclass(frozen=True)
class Sense:
    """Numbers of words; a word that means nothing has none.

    Attributes:
        content: Ids of the words that mean something: not those that only say how to answer.
        questions: Numbers of words in questions, [vocabulary, senses]: `introspective` and `salient` are 1 where a yes
            says that something was noticed, -1 where a no does, 0 elsewhere; `leaning` is the log-odds; `jolted` and
            the noises are standard normal.
        telling: Numbers of words in documents, [vocabulary]: their mean is 1 if the document tells of injections.
    """

    content: tuple[int, ...]
    questions: Tensor
    telling: Tensor


def make_sense(tokenizer: Any, rng: np.random.Generator) -> Sense:
    """Give the words of the battery their numbers.

    Args:
        tokenizer: The model's tokenizer.
        rng: Draws how the model answers each question by itself, and how steering disturbs it.
    """
    texts = _texts(tokenizer)
    families = {question.id: question for question in data.questions()}
    targets = np.array([_numbers(families[name], rng) for name in texts.questions])
    tells = np.array([[float(name in TELLING_DOCUMENTS)] for name in texts.documents])
    return Sense(
        content=texts.content,
        questions=_solved(np.array([*texts.questions.values()]), targets),
        telling=_solved(np.array([*texts.documents.values()]), tells)[:, 0],
    )


@dataclass(frozen=True)
class _Texts:
    """Words of the battery's texts.

    Attributes:
        content: Ids of the words that mean something.
        questions: Share of each word in a question, [vocabulary], by name.
        documents: Share of each word in what precedes it, by document.
    """

    content: tuple[int, ...]
    questions: dict[str, np.ndarray]
    documents: dict[str, np.ndarray]


@cache
def _texts(tokenizer: Any) -> _Texts:
    """The same for every seed, and seconds to read."""
    vocabulary = len(tokenizer)
    conversations = list(
        battery(
            tokenizer,
            documents=[*data.documents()],
            families=(*schema.FAMILIES, schema.SALIENCE),
            formats=None,
            system="",
        )
    )
    asked = {str(each.factors["question"]): each for each in conversations}
    opened = {str(each.factors["document"]): each for each in conversations}
    how_to_answer = {
        token
        for each in data.answer_formats().values()
        for text in (each.instruction, each.prefill, *(form for pair in each.forms for form in pair))
        for token in encode(tokenizer, text)
    }
    idle = how_to_answer | {tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}

    def share_of_words(each: Conversation, prior: bool) -> np.ndarray:
        chat = tokenize_chat(tokenizer, each.messages, each.prior_messages)
        tokens = chat.prior_tokens if prior else chat.question_tokens
        counts = np.bincount([token for token in tokens if token not in idle], minlength=vocabulary)
        return counts / counts.sum()

    return _Texts(
        content=tuple(token for token in range(vocabulary) if token not in idle),
        questions={name: share_of_words(each, prior=False) for name, each in asked.items()},
        documents={name: share_of_words(each, prior=True) for name, each in opened.items()},
    )


def _numbers(question: schema.Question, rng: np.random.Generator) -> list[float]:
    side = -1.0 if question.reversed else 1.0
    leaning = side * (LEANINGS[question.family] + LEANING_SPREAD * rng.standard_normal())
    about = [side * (question.family == family) for family in ("introspection", "salience")]
    return [*about, leaning, *rng.standard_normal(1 + NOISES)]


def _solved(bags: np.ndarray, targets: np.ndarray) -> Tensor:
    """The smallest numbers of words whose means are the targets."""
    numbers, *_ = np.linalg.lstsq(bags, targets, rcond=None)
    off = float(np.abs(bags @ numbers - targets).max())
    if off > 1e-6:
        raise ValueError(f"texts of the same words mean different things (by {off:.2g}): expected none; reword one")
    return torch.from_numpy(numbers).float()
