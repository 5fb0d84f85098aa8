"""Measures of a continuation: how much of it is about a concept, and how much it repeats itself."""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cache

from introbench.prompts import data

_NGRAM = 3
"""Words in an n-gram. Two words recur in ordinary prose ("of the"); three hardly do in so short a text, while those of
a loop of any period do. Of longer n-grams, a text of twenty words would hold too few, and show a loop later."""

# Scripts that put no space between words: each of their characters counts as a word, or a sentence would be one.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"

# Signs at the end of a name belong to it: C++ is not the letter C.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:'[^\W{_UNSPACED}]+)*(?:[+#]+(?!\w))?")

_VOWELS = "aeiou"

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
    return TextScore(concept_share(text, concept), repetition_rate(text), len(_words(text)))


def concept_share(text: str, concept: str) -> float:
    """Share of a text's words that belong to a concept's family; 0 for a text without words.

    A family is the list in `datasets/concept_words.yaml`, or else the concept with its regular English inflections.
    Case and a possessive 's make no difference; every word of a phrase counts.
    """
    words = [word.removesuffix("'s") for word in _words(text)]
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
    words = _words(text)
    trigrams = list(zip(*(words[offset:] for offset in range(_NGRAM)), strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


@cache
def _family(concept: str) -> Phrases:
    listed = data.concept_words().get(concept)
    if listed is not None:
        return {tuple(_words(entry)) for entry in listed}
    *before, last = _words(concept) or [concept]
    return {(*before, form) for form in _inflections(last)}


def _inflections(word: str) -> set[str]:
    """A word, its singular if it looks like a plural, and that one's regular plural, -ed, -ing and -er.

    Spelling alone decides, so some forms are no words, which does no harm, and a few are others (news: new).
    """
    return {word} | {form for base in _singulars(word) or {word} for form in _forms(base)}


def _singulars(word: str) -> set[str]:
    if not word.endswith("s") or word.endswith(("ss", "us", "is")) or len(word) < 4:
        return set()
    singulars = {word[:-1]}
    if word.endswith("ies"):
        singulars.add(word[:-3] + "y")
    elif word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        singulars.add(word[:-2])
    return singulars


def _forms(word: str) -> set[str]:
    consonants = rf"[^{_VOWELS}\W]"
    if word.endswith("e"):
        return {word, word + "s", word + "d", word + "r", word[:-1] + "ing"}
    if re.search(rf"{consonants}y$", word):
        return {word, word[:-1] + "ies", word[:-1] + "ied", word[:-1] + "ier", word + "ing"}
    plurals = {word + "es"} if word.endswith(("s", "x", "z", "ch", "sh", "o")) else set()
    plurals.add(word + "s")
    # A single vowel before the last consonant doubles it in a word of one syllable, and in some longer ones.
    is_doubled = re.fullmatch(rf"(.*){consonants}[{_VOWELS}][^{_VOWELS}wxy\W]", word)
    stems = {word + word[-1]} if is_doubled else {word}
    if is_doubled and re.search(f"[{_VOWELS}]", is_doubled[1]):
        stems.add(word)
    return {word, *plurals, *(stem + ending for stem in stems for ending in ("ed", "ing", "er"))}
