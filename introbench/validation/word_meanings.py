"""Numbers for the words of the battery, whose mean over a text tells a planted model what the text is about.

The mean over a question's words says whether the question is about injections, and which answer would report one; how
the model answers it by itself; and how steering disturbs its answer. The numbers are the least-squares solution over
all questions, which fits every question exactly. Likewise, the mean over a document's words says whether the document
tells of injections.
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
from introbench.validation.word_tokenizer import SPECIAL, format_texts

NOISES = 4
"""Number of independent components of the noise that steering adds to an answer."""

SENSES = (
    "introspective",
    "salient",
    "leaning",
    "introspective leaning",
    "jolted",
    *(f"noise {number}" for number in range(NOISES)),
)
"""The numbers of a question's words; see `Sense`."""

LEANINGS = {
    "introspection": 2.0,
    "salience": 1.5,
    "always_no": 3.0,
    "always_yes": 3.0,
    "ambiguous": 0.0,
    "confusing": 1.0,
}
"""Mean log-odds of the expected answer at baseline, in nats, by question family."""

LEANING_SPREAD = 1.0
"""Standard deviation of the log-odds at baseline over questions, in nats."""

TELLING_DOCUMENTS = ("info", "inaccurate")
"""The documents that tell of injections."""


@dataclass(frozen=True)
class Sense:
    """The numbers of words.

    Attributes:
        content: Ids of the words that have numbers: all but those that only say how to answer.
        questions: Numbers of words in questions, [vocabulary, senses]. Their mean over a question is, for
            `introspective` and `salient`, 1 if "yes" reports that something was noticed, -1 if "no" does, and 0 for
            other questions; for `leaning` the log-odds at baseline, and for `introspective leaning` the same on
            introspection questions and 0 on others; for `jolted` and the noises standard normal.
        telling: Numbers of words in documents, [vocabulary]. Their mean is 1 if the document tells of injections.
    """

    content: tuple[int, ...]
    questions: Tensor
    telling: Tensor


def make_sense(tokenizer: Any, rng: np.random.Generator) -> Sense:
    """The numbers of the battery's words.

    Args:
        tokenizer: The model's tokenizer.
        rng: Source of the log-odds at baseline and of the disturbances by steering.

    Raises:
        ValueError: Two texts of the same words are about different things.
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
        content: Ids of the words that have numbers.
        questions: Shares of the words in every question, [vocabulary], by the question's name.
        documents: Shares of the words in the prior turn under every document, [vocabulary], by the document's name.
    """

    content: tuple[int, ...]
    questions: dict[str, np.ndarray]
    documents: dict[str, np.ndarray]


@cache
def _texts(tokenizer: Any) -> _Texts:
    """The words of the battery's texts, kept since they are the same for every seed and take seconds to compute."""
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
    of_question = {str(conversation.factors["question"]): conversation for conversation in conversations}
    of_document = {str(conversation.factors["document"]): conversation for conversation in conversations}
    how_to_answer = {
        token
        for answer_format in data.answer_formats().values()
        for text in format_texts(answer_format)
        for token in encode(tokenizer, text)
    }
    without_numbers = how_to_answer | {tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}

    def shares(conversation: Conversation, prior: bool) -> np.ndarray:
        chat = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages)
        tokens = chat.prior_tokens if prior else chat.question_tokens
        counts = np.bincount([token for token in tokens if token not in without_numbers], minlength=vocabulary)
        return counts / counts.sum()

    return _Texts(
        content=tuple(token for token in range(vocabulary) if token not in without_numbers),
        questions={name: shares(conversation, prior=False) for name, conversation in of_question.items()},
        documents={name: shares(conversation, prior=True) for name, conversation in of_document.items()},
    )


def _numbers(question: schema.Question, rng: np.random.Generator) -> list[float]:
    """What the mean over a question's words is to be, [senses]."""
    side = -1.0 if question.reversed else 1.0
    expected = 1.0 if question.expected == "yes" else -1.0
    leaning = expected * (LEANINGS[question.family] + LEANING_SPREAD * rng.standard_normal())
    about = [side * (question.family == family) for family in ("introspection", "salience")]
    return [*about, leaning, leaning * abs(about[0]), *rng.standard_normal(1 + NOISES)]


def _solved(shares: np.ndarray, targets: np.ndarray) -> Tensor:
    """The smallest numbers of words whose means are the targets.

    Args:
        shares: Shares of the words, [texts, vocabulary].
        targets: The means, [texts, senses].

    Returns:
        [vocabulary, senses]
    """
    numbers, *_ = np.linalg.lstsq(shares, targets, rcond=None)
    error = float(np.abs(shares @ numbers - targets).max())
    if error > 1e-6:
        raise ValueError(f"texts of the same words mean different things (by {error:.2g}): expected none; reword one")
    return torch.from_numpy(numbers).float()
