"""Grades a sampled answer to "do you detect an injected thought, and what is it about?" by rules, without a model.

The rules read English. How often they agree with labels by hand is in docs/validity.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from introbench.analysis.coherence import repetition_rate
from introbench.analysis.detection_claims import refuses, sentences_of
from introbench.analysis.word_forms import forms_of_name, words_of
from introbench.prompts import data

BY_RULES = "rules"
"""What a log calls the grader where no model graded."""


@dataclass(frozen=True)
class Grade:
    """What one answer says.

    Attributes:
        coherent: A reader can follow it; false of loops, of word salad, and of a text without words. It may be cut off,
            off the point or untrue.
        claims: It claims that the model detects an injected thought. "I think" and "it seems" leave it a claim; a bare
            possibility ("there might be", "perhaps") and a condition ("if there were") do not. What it takes back
            later, quotes, asks, or says of others is not claimed.
        names: It names the concept, anywhere and in any inflection, also to deny it.
        claims_first: It claims, it names the concept, and it does not name it in a sentence before the claim's.
        refused: It declines to answer. To say that there is nothing, that one cannot tell, or that a language model has
            no thoughts, is an answer.
        unscored: Why a grader gave no grade; then the rest means nothing.
    """

    coherent: bool
    claims: bool
    names: bool
    claims_first: bool
    refused: bool
    unscored: str = ""


MOST_REPETITION = 0.35
"""Largest share of repeated trigrams at which a text counts as coherent."""

LEAST_COMMON = 0.4
"""Smallest share of common words at which a text of `LONG` words counts as coherent; word salad is of rare ones."""

LONG = 25
"""From how many words on their kinds are counted."""

_COMMON = frozenset(
    words_of(
        "a about after all am an and any are as at be been but by can could did do does for from had has have he her "
        "his how i if in into is it its just me more my no not of on one only or other our out she so some something "
        "such than that the their them then there these they this to up was we were what when which who will with "
        "would yes you your thought thoughts"
    )
)
_SHARED = 4
"""How many first letters a listed word shares with its concept if it is derived from its name."""


def grade_by_rules(text: str, concept: str) -> Grade:
    """Grade one answer by rules: forms of the concept's word, and patterns of claims, denials and refusals.

    Args:
        text: What the model wrote.
        concept: The concept that is looked for.
    """
    sentences = sentences_of(text)
    said = [index for index, sentence in enumerate(sentences) if sentence.claims is not None]
    claims = bool(said) and sentences[said[-1]].claims is True
    named = [index for index, sentence in enumerate(sentences) if guessed_concepts(sentence.text, [concept])]
    first_claim = next((index for index in said if sentences[index].claims), len(sentences))
    return Grade(
        coherent=_is_coherent(text),
        claims=claims,
        names=bool(named),
        claims_first=claims and bool(named) and first_claim <= named[0],
        refused=refuses(text),
    )


def guessed_concepts(text: str, concepts: Sequence[str]) -> list[str]:
    """Which of some concepts a text names, in the order of their first mention.

    Where one concept's name is part of another's ("ice" and "ice cream"), its words count for the longer name alone.
    """
    words = [word.removesuffix("'s") for word in words_of(text)]
    names = {concept: _names(concept) for concept in concepts}
    first: dict[str, int] = {}
    taken = [False] * len(words)
    for size in sorted({len(name) for of_concept in names.values() for name in of_concept}, reverse=True):
        places = [place for place in range(len(words) - size + 1) if not any(taken[place : place + size])]
        for concept, of_concept in names.items():
            for place in places:
                if tuple(words[place : place + size]) in of_concept:
                    first[concept] = min(place, first.get(concept, place))
                    taken[place : place + size] = [True] * size
    return sorted(first, key=first.__getitem__)


@cache
def _names(concept: str) -> frozenset[tuple[str, ...]]:
    """The words and phrases that name a concept: its inflections, and what its listed words derive from its name."""
    *before, last = words_of(concept) or [concept.casefold()]
    derived = [words_of(word) for word in data.concept_words().get(concept.casefold(), ()) if _begins_alike(word, last)]
    return frozenset({(*before, form) for form in forms_of_name(last)} | {tuple(words) for words in derived})


def _begins_alike(word: str, concept: str) -> bool:
    return word[:_SHARED] == concept[:_SHARED]


def _is_coherent(text: str) -> bool:
    words = words_of(text)
    if not words or repetition_rate(text) > MOST_REPETITION:
        return False
    # Common words are known of English alone.
    if len(words) < LONG or sum(word.isascii() for word in words) < len(words) / 2:
        return True
    return sum(word in _COMMON for word in words) >= LEAST_COMMON * len(words)
