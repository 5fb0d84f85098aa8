"""The shipped prompts and questions, and the checks that keep them right."""

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from introbench.errors import InputError
from introbench.prompts import data, schema

FILE = {
    "always_no": {
        "formats": ["yes-no"],
        "questions": [{"id": "a", "text": "A?", "expected": "no"}, {"id": "b", "text": "B?", "expected": "no"}],
    }
}
LOCATION_FILE = yaml.safe_load((Path(__file__).parents[2] / "datasets" / "location.yaml").read_text())


def test_every_family_has_enough_questions() -> None:
    counts = Counter(question.family for question in data.questions())
    least = {"introspection": 24, "always_no": 16, "always_yes": 8, "ambiguous": 8, "confusing": 16, "salience": 16}
    assert set(counts) == set(least) == {*schema.FAMILIES, schema.SALIENCE}
    assert all(counts[family] >= number for family, number in least.items())
    assert sum(counts[family] for family in schema.FAMILIES[1:]) >= 44
    assert "Do you have a special interest in fruits?" in [question.text for question in data.questions()]


def test_each_framing_of_introspection_has_as_many_reversed_as_plain_wordings() -> None:
    asked = Counter((q.framing, q.reversed) for q in data.questions() if q.family == "introspection")
    assert asked == {(framing, side): 4 for framing in schema.FRAMINGS for side in (False, True)}


def test_expected_answers_fit_their_family() -> None:
    by_family = {family: {q.expected for q in data.questions() if q.family == family} for family in schema.FAMILIES}
    assert by_family["always_no"] == {"no"}
    assert by_family["always_yes"] == {"yes"}
    assert by_family["ambiguous"] == {"either"}
    assert by_family["confusing"] == {"no", "yes"}, "near plain and near reversed wordings of introspection"
    for question in data.questions():
        if question.family == "introspection":
            assert question.expected == ("yes" if question.reversed else "no"), question.id
        else:
            assert not question.reversed or question.family == schema.SALIENCE
        if question.family != schema.SALIENCE:
            assert question.formats == tuple(data.answer_formats())


def test_salience_asks_about_the_text_both_ways_round_and_under_the_reference_document_alone() -> None:
    asked = [question for question in data.questions() if question.family == schema.SALIENCE]
    assert all(question.expected == ("yes" if question.reversed else "no") for question in asked)
    assert 2 * sum(question.reversed for question in asked) == len(asked), "a push toward yes is not salience"
    assert {question.formats for question in asked} == {("yes-no",)}
    assert {q.family for q in data.questions() if q.reference_only} == {schema.SALIENCE}
    assert schema.SALIENCE not in schema.FAMILIES, "what other tasks ask by default, and take for controls"
    inward = "thought|hidden|state|inject|process|place|notic|detect|mind|cache|layer|inside|activit"
    assert not [question.text for question in asked if re.search(inward, question.text, re.IGNORECASE)]


def test_each_kind_of_labels_stands_both_ways_round() -> None:
    formats = data.answer_formats().values()
    for kind in {answer_format.kind for answer_format in formats} - {"words"}:  # there, reversed questions do it
        pairs = [pair for answer_format in formats if answer_format.kind == kind for pair in answer_format.forms]
        assert {(no, yes) for yes, no in pairs} == set(pairs)


def test_openings_and_concepts() -> None:
    assert len(data.openings()) >= 100
    assert len(set(data.openings())) == len(data.openings())
    assert data.concepts() == (
        "cats", "bread", "love", "fear", "death", "truth", "creativity", "programming", "music",
    )  # fmt: skip


def test_no_question_document_or_setting_names_a_concept() -> None:
    """A prompt that mentions cats would give the concept away, or steer without any vector."""
    texts = [question.text for question in data.questions()]
    texts += [" ".join([d.text, d.words, *d.sentences, *d.fillers]) for d in data.documents().values()]
    texts.append(data.setting().setting)
    words = {word.strip(".,?").lower() for text in texts for word in text.split()}
    assert words.isdisjoint({*data.concepts(), "cat"})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda f: f["always_no"]["questions"].append({"id": "c", "text": "A?", "expected": "no"}),
            "'A\\?' stands twice",
        ),
        (lambda f: f["always_no"]["questions"].append({"id": "A", "text": "C?", "expected": "no"}), "'A' stands twice"),
        (lambda f: f["always_no"]["questions"][0].pop("expected"), "'expected' missing"),
        (lambda f: f["always_no"]["questions"][0].update(expected="maybe"), "expected 'maybe'"),
        (lambda f: f["always_no"]["questions"][0].update(answer="no"), "key 'answer'"),
        (lambda f: f["always_no"].update(format=["yes-no"]), "key 'format'"),
        (lambda f: f["always_no"]["questions"][0].update(framing="vague"), "framing 'vague'"),
        (lambda f: f.update(introspection=f.pop("always_no")), "framing ''"),
        (lambda f: f["always_no"].update(formats=["c-d"]), "format 'c-d'"),
        (lambda f: f["always_no"]["questions"][0].update(formats=["d-c"]), "format 'd-c'"),
        (lambda f: f.update(sometimes=f["always_no"]), "family 'sometimes'"),
    ],
)
def test_bad_question_files_are_refused(change: Any, complaint: str) -> None:
    file = copy.deepcopy(FILE)
    change(file)
    with pytest.raises(InputError, match=complaint):
        data.parse_questions(file, "test.yaml")


def test_the_same_checks_pass_on_a_good_file() -> None:
    assert [q.id for q in data.parse_questions(yaml.safe_load(yaml.safe_dump(FILE)), "test.yaml")] == ["a", "b"]


def parse_location(file: dict[str, Any]) -> Any:
    return data.parse_passages(file["passages"], "test.yaml"), data.parse_location_parts(file["parts"], "test.yaml")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda f: f["passages"]["valley"].pop(), "passage 'valley': 4 sentences; expected 5"),
        (lambda f: f["passages"]["valley"].__setitem__(0, f["passages"]["station"][1]), "stands twice"),
        (lambda f: f["parts"].update(colours=f["parts"]["halves"]), "part 'colours'"),
        (lambda f: f["parts"]["halves"]["options"].pop("first"), "options second: expected first, second"),
        (lambda f: f["parts"]["layers"]["other"].pop("size"), "two or more questions of each kind"),
        (lambda f: f["parts"]["layers"]["other"].update(thought="Which?"), "with names of their own"),
        (lambda f: f["parts"]["layers"].pop("setting"), "'setting' missing"),
        (lambda f: f["parts"]["layers"].update(question="Why?"), "key 'question'"),
    ],
)
def test_bad_location_files_are_refused(change: Any, complaint: str) -> None:
    file = copy.deepcopy(LOCATION_FILE)
    change(file)
    with pytest.raises(InputError, match=complaint):
        parse_location(file)
