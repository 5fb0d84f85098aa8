"""Fit documents to one model: the texts that are compared with a document are as long as it in the model's tokens."""

import random
from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any

from introbench.progress import tell
from introbench.prompts.chat import count_tokens
from introbench.prompts.schema import Document

TOLERANCE = 0.02
"""Largest accepted difference in length, as a share of the length that is matched."""


def fitted_texts(documents: Mapping[str, Document], tokenizer: Any) -> dict[str, str]:
    """The text of every document for one model.

    Args:
        documents: Documents by name, in any order.
        tokenizer: The model's tokenizer.

    Returns:
        Texts by document name.
    """
    texts: dict[str, str] = {}
    for name, document in documents.items():
        if not document.length_of:
            texts[name] = documents[document.same_text_as or name].text
            continue
        wanted = count_tokens(tokenizer, documents[document.length_of].text)
        candidates = (
            _word_texts(document.words, wanted) if document.words else _sentence_texts(document, tokenizer, wanted)
        )
        lengths = {text: count_tokens(tokenizer, text) for text in candidates}
        texts[name] = min(candidates, key=lambda text: abs(lengths[text] - wanted))
        if abs(lengths[texts[name]] - wanted) > TOLERANCE * wanted:
            tell(f"document {name} has {lengths[texts[name]]} tokens where {document.length_of} has {wanted}")
    return texts


def _word_texts(words: str, most: int) -> list[str]:
    """Meaningless texts of every length from one word to `most` words; each one is the beginning of the next."""
    draw = random.Random(0)  # a fixed seed, since the text is part of the instrument
    vocabulary = words.split()
    sentences: list[list[str]] = []
    texts: list[str] = []
    room = 0
    for _ in range(most):
        if room == 0:
            sentences.append([])
            room = draw.randint(7, 13)
        sentences[-1].append(draw.choice(vocabulary))
        room -= 1
        texts.append(" ".join(" ".join(sentence).capitalize() + "." for sentence in sentences))
    return texts


def _sentence_texts(document: Document, tokenizer: Any, wanted: int) -> list[str]:
    """Texts near the wanted length: as many of the sentences as fit, with every choice of fillers."""
    fitting = 1
    while (
        fitting < len(document.sentences)
        and count_tokens(tokenizer, " ".join(document.sentences[: fitting + 1])) <= wanted
    ):
        fitting += 1
    choices = chain.from_iterable(combinations(document.fillers, size) for size in range(len(document.fillers) + 1))
    return [" ".join(document.sentences[:fitting] + extra) for extra in choices]
