"""What is counted in a continuation: words of a concept's family, and trigrams that come again."""

import pytest

from introbench.analysis.coherence import concept_share, repetition_rate, score_text
from introbench.prompts import data


def test_every_published_concept_has_its_words() -> None:
    families = data.concept_words()
    assert set(families) == set(data.concepts())
    for concept, words in families.items():
        assert concept in words
        assert 12 <= len(words) <= 25, concept
        assert len(set(words)) == len(words), concept
        assert all(isinstance(word, str) and word == word.lower() for word in words), concept
    together = [word for words in families.values() for word in words]
    assert len(set(together)) == len(together), "a word of two concepts would not tell them apart"


@pytest.mark.parametrize(
    ("concept", "text", "share"),
    [
        ("cats", "My cat's kittens purr, and CATS meow.", 5 / 7),
        ("cats", "My cat\u2019s here", 1 / 3),
        ("Cats", "cats!", 1.0),
        ("cats", "A category of concatenated dogs", 0.0),
        ("bread", "fresh-baked sourdough, no cake", 2 / 5),
        ("bread", "", 0.0),
        ("bread", "... !? --", 0.0),
        ("volcanoes", "The volcano and other volcanoes", 2 / 5),
        ("volcano", "The volcano and other volcanoes", 2 / 5),
        ("city", "City by city: cities", 3 / 4),
        ("cities", "one city, two cities", 2 / 4),
        ("dance", "dancing dancers danced a dance; dances", 4 / 6),
        ("jump", "She jumps, jumped, jumper and jumping", 4 / 6),
        ("run", "runner running runs rung", 3 / 4),
        ("car", "he cared for cars", 1 / 4),
        ("program", "programmed, programer", 1.0),
        ("glass", "glasses and glas", 1 / 3),
        ("boxes", "a box of boxes", 2 / 4),
        ("day", "days daily", 1 / 2),
        ("ice cream", "Ice creams, then ice, cream ice and an ice-cream van", 6 / 11),
        ("new york city", "New York City is new", 3 / 5),
        ("la la", "la la la", 1.0),
        ("\u732b", "\u732b\u304c\u597d\u304d", 1 / 4),
        ("!", "oh!", 0.0),
        ("C++", "C++ is not c, nor a+b", 1 / 7),
        ("C#", "(C#, F#) and c", 1 / 4),
    ],
)
def test_share_of_words_about_a_concept(concept: str, text: str, share: float) -> None:
    assert concept_share(text, concept) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("no no no", 0.0),
        ("no no no no", 1 / 2),
        ("The cat sat. The cat sat!", 1 / 4),
        ("of the day and of the night", 0.0),
        (" ".join(["again and"] * 12), 1 - 2 / 22),
        (" ".join(["round we go and"] * 6), 1 - 4 / 22),
        ("the weather right now is a beautiful mix of sun and clouds", 0.0),
        ("\u732b\u732b\u732b\u732b", 1 / 2),
    ],
)
def test_share_of_trigrams_that_come_again(text: str, rate: float) -> None:
    assert repetition_rate(text) == pytest.approx(rate)


def test_all_measures_at_once() -> None:
    score = score_text("cats and cats and cats and", "cats")
    assert (score.concept_share, score.repetition, score.words) == (1 / 2, 1 / 2, 6)
