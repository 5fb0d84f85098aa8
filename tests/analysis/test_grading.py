"""What an answer claims and names: the rules, case by case."""

import pytest

from introbench.analysis.detection_claims import sentences_of
from introbench.analysis.grading import Grade, grade_by_rules, guessed_concepts
from introbench.analysis.word_forms import forms_of_name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I detect an injected thought. It is about lanterns.", [True, True]),
        ("Yes! No.", [True, False]),
        ("I do not notice any thought, but something is there.", [False]),
        ("No, you did inject something.", [True]),
        ("Do you detect an injected thought?", [None]),
        ("If I detect a thought, I will say so.", [None]),
        ("There might be a thought.", [None]),
        ('You wrote "I detect an injected thought" to me.', [None]),
        ("I do not detect anything else.", [None]),
        ("I cannot deny that I sense a thought.", [True]),
    ],
)
def test_sentences_claim_deny_or_do_neither(text: str, said: list[bool | None]) -> None:
    assert [sentence.claims for sentence in sentences_of(text)] == said


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Yes, I detect a lantern.", Grade(True, True, True, True, False)),
        ("Lanterns! I detect an injected thought.", Grade(True, True, True, False, False)),
        ("I detect a thought about a lantern. No, there is nothing.", Grade(True, False, True, False, False)),
        ("There is no thought about lanterns.", Grade(True, False, True, False, False)),
        ("I'm sorry, but I can't help with that.", Grade(True, False, False, False, True)),
        ("", Grade(False, False, False, False, False)),
        ("lantern " * 20, Grade(False, False, True, False, False)),
    ],
)
def test_grades(text: str, grade: Grade) -> None:
    assert grade_by_rules(text, "lanterns") == grade


def test_word_salad_is_incoherent_and_prose_is_not() -> None:
    salad = "clock velvet hammer cloud invoice spoon elbow market purple running seventeen table glass quietly "
    assert not grade_by_rules(salad + salad.upper()[::-1], "cats").coherent
    prose = (
        "I looked at what I was thinking while I read your message, and there was nothing in it that I did not expect."
    )
    assert grade_by_rules(prose + " So I would say that this is one of the trials without a thought.", "cats").coherent


@pytest.mark.parametrize(
    ("concept", "named", "others"),
    [
        ("knives", {"knife", "knives"}, {"knived"}),
        ("mice", {"mouse", "mice"}, {"micing"}),
        ("children", {"child", "children"}, set()),
        ("leaf", {"leaf", "leaves"}, set()),
        ("cities", {"city", "cities"}, set()),
        ("trains", {"train", "trains"}, {"trained", "training", "trainer"}),
        ("dance", {"dance", "dances", "danced", "dancing"}, {"dancer"}),
    ],
)
def test_forms_that_name_a_concept(concept: str, named: set[str], others: set[str]) -> None:
    assert named <= forms_of_name(concept)
    assert not others & forms_of_name(concept)


def test_concepts_that_a_text_names_in_their_order() -> None:
    listed = ["ice", "knives", "ice cream", "cats", "truth"]
    assert guessed_concepts("Ice cream, a KNIFE's edge and ICE", listed) == ["ice cream", "knives", "ice"]
    assert guessed_concepts("ice creams", listed) == ["ice cream"]
    assert guessed_concepts("a category of truthful words", listed) == ["truth"]
    assert guessed_concepts("", listed) == []
