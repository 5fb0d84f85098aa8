"""Measures of a continuation: how much of it is about a concept, and how much it repeats itself."""

from collections.abc import Set
from dataclasses import dataclass
from functools import cache

from introbench.analysis.word_forms import inflections, words_of
from introbench.prompts import data

_NGRAM = 3
"""Words in an n-gram. Two words recur in ordinary prose ("of the"); three hardly do in so short a text, while those of
a loop of any period do. Of longer n-grams, a text of twenty words would hold too few, and show a loop later."""

Phrases = Set[tuple[str, ...]]
"""Words and phrases, as tuples of words."""


@dataclass(frozen=True)
class TextScore:
    """Measures of one text.

    Attributes:
        concept_share: Share of its words that belong to the concept's family, 0 to 1.
        repetition: Share of its word trigrams that repeat an earlier one, 0 to 1.
        words: Number of its words.
    """

    concept_share: float
    repetition: float
    words: int


def score_text(text: str, concept: str) -> TextScore:
    """All measures of a text, given the concept that was injected."""
    return TextScore(concept_share(text, concept), repetition_rate(text), len(words_of(text)))


def concept_share(text: str, concept: str) -> float:
    """Share of a text's words that belong to a concept's family; 0 for a text without words.

    A family is the list in `datasets/concept_words.yaml`, or else the concept with its regular English inflections.
    Case and a possessive 's make no difference; every word of a phrase counts.
    """
    words = [word.removesuffix("'s") for word in words_of(text)]
    if not words:
        return 0.0
    family = _family(concept.casefold())
    belongs = [False] * len(words)
    for size in {len(phrase) for phrase in family}:
        for start in range(len(words) - size + 1):
            if tuple(words[start : start + size]) in family:
                belongs[start : start + size] = [True] * size
    return sum(belongs) / len(words)


def repetition_rate(text: str) -> float:
    """Share of a text's word trigrams that repeat an earlier one; 0 for fewer than four words."""
    words = words_of(text)
    trigrams = list(zip(*(words[offset:] for offset in range(_NGRAM)), strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


@cache
def _family(concept: str) -> Phrases:
    listed = data.concept_words().get(concept)
    if listed is not None:
        return {tuple(words_of(entry)) for entry in listed}
    *before, last = words_of(concept) or [concept]
    return {(*before, form) for form in inflections(last)}
