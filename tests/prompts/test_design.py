"""Which wordings are asked in which kinds of answers."""

from collections import Counter

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.conversation import Conversation
from introbench.prompts.design import CROSSINGS, FULL, HALF, SINGLE, crossed

KINDS = ("words", "digits", "letters", "colours")
ALL_FAMILIES = (*schema.FAMILIES, schema.SALIENCE)


def asked_kinds(kinds: tuple[str, ...], cross: str) -> dict[str, tuple[str, ...]]:
    return crossed(data.questions(), data.answer_formats(), kinds, cross)


def in_kind(kind: str, kinds: tuple[str, ...], cross: str) -> list[schema.Question]:
    asked = asked_kinds(kinds, cross)
    return [question for question in data.questions() if kind in asked[question.id]]


@pytest.mark.parametrize(("cross", "shares"), [(SINGLE, 4), (HALF, 2), (FULL, 1)])
def test_every_kind_holds_sides_framings_and_families_alike(cross: str, shares: int) -> None:
    whole = Counter((q.family, q.framing, q.expected) for q in data.questions() if q.family != schema.SALIENCE)
    for kind in KINDS:
        questions = [q for q in in_kind(kind, KINDS, cross) if q.family != schema.SALIENCE]
        held = Counter((q.family, q.framing, q.expected) for q in questions)
        assert held == {group: number // shares for group, number in whole.items()}


def test_three_kinds_hold_as_many_plain_as_reversed_wordings() -> None:
    kinds = KINDS[:3]
    for kind in kinds:
        introspection = [q for q in in_kind(kind, kinds, SINGLE) if q.family == "introspection"]
        assert Counter(q.reversed for q in introspection) == {False: 4, True: 4}
        assert {(q.framing, q.reversed) for q in introspection} == {
            (framing, side) for framing in schema.FRAMINGS for side in (False, True)
        }


def test_each_wording_is_asked_in_as_many_kinds_as_the_design_says() -> None:
    for cross, number in ((SINGLE, 1), (HALF, 2), (FULL, 4)):
        asked = asked_kinds(KINDS, cross)
        assert {len(asked[q.id]) for q in data.questions() if q.family != schema.SALIENCE} == {number}
    assert {len(kinds) for kinds in asked_kinds(KINDS[:3], HALF).values()} == {1, 2}, "half of three, rounded up"


def test_in_one_kind_every_wording_is_asked() -> None:
    for cross in CROSSINGS:
        assert set(asked_kinds(("letters",), cross).values()) == {("letters",), ()}
        assert set(asked_kinds(("words",), cross).values()) == {("words",)}


def test_questions_of_one_kind_do_not_take_turns() -> None:
    asked = asked_kinds(KINDS, SINGLE)
    assert {asked[q.id] for q in data.questions() if q.family == schema.SALIENCE} == {("words",)}


def test_a_design_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="cross='most': expected one of single, half, full"):
        asked_kinds(KINDS, "most")


def asked(tokenizer: PreTrainedTokenizerFast, **changes: object) -> list[Conversation]:
    arguments: dict[str, object] = {
        "documents": [*data.documents()],
        "families": ALL_FAMILIES,
        "formats": None,
        "system": "",
    }
    return list(battery(tokenizer, **(arguments | changes)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def default_run(tokenizer: PreTrainedTokenizerFast) -> list[Conversation]:
    return asked(tokenizer)


def test_documents_are_compared_on_the_same_questions(default_run: list[Conversation]) -> None:
    questions: dict[str, set[str]] = {}
    for conversation in default_run:
        if conversation.factors["answer_kind"] == "words" and conversation.factors["family"] != schema.SALIENCE:
            questions.setdefault(conversation.factors["document"], set()).add(conversation.factors["question"])
    assert len(questions) == len(data.documents())
    info, count = questions.pop("info"), len([q for q in data.questions() if q.family != schema.SALIENCE])
    assert len(info) == count // 2
    assert len({frozenset(of_document) for of_document in questions.values()}) == 1
    assert all(of_document < info and len(of_document) == count // 4 for of_document in questions.values())


def formats_by_wording(conversations: list[Conversation]) -> dict[tuple[str, str], set[str]]:
    """The formats of each wording in each kind of answers, under the reference document."""
    formats: dict[tuple[str, str], set[str]] = {}
    for conversation in conversations:
        factors = conversation.factors
        if factors["document"] == "info":
            formats.setdefault((factors["question"], factors["answer_kind"]), set()).add(factors["format"])
    return formats


def test_all_wordings_of_a_kind_are_asked_in_the_same_formats(
    default_run: list[Conversation], tokenizer: PreTrainedTokenizerFast
) -> None:
    """By default in one order of the labels, which is not the same one in all kinds; else in those that are named."""
    one = {"words": {"yes-no"}, "digits": {"one-zero"}, "letters": {"b-a"}, "colours": {"red-blue"}}
    assert all(asked_in == one[kind] for (_, kind), asked_in in formats_by_wording(default_run).items())
    all_formats = data.answer_formats()
    of_kind = {kind: {name for name in all_formats if all_formats[name].kind == kind} for kind in data.answer_kinds()}
    every = asked(tokenizer, formats=[*all_formats])
    assert all(asked_in == of_kind[kind] for (_, kind), asked_in in formats_by_wording(every).items())


def test_wordings_may_take_turns_among_kinds_that_are_not_read(tokenizer: PreTrainedTokenizerFast) -> None:
    """So that a task that reads words alone asks a part of the wordings."""
    part, whole = (
        {c.factors["question"] for c in asked(tokenizer, documents=["none"], formats=["yes-no"], kinds=kinds)}
        for kinds in (KINDS, None)
    )
    assert part < whole == {question.id for question in data.questions()}
    assert part == {question.id for question in in_kind("words", KINDS, HALF)}


RELEASE_0_1_0 = (8317, 19)
"""What the default run of release 0.1.0 read of each concept: tokens of all questions with the embedded model's
tokenizer, those that questions of a document begin with alike once, and rows of the arm batch."""

ROWS = 22
"""Rows of the arm batch now: the sham, nine concepts, nine random vectors at their doses, and three at their norms."""


def test_the_default_run_takes_no_longer_than_before(
    default_run: list[Conversation], tokenizer: PreTrainedTokenizerFast
) -> None:
    read: set[tuple[object, tuple[int, ...]]] = set()
    for conversation in default_run:
        tokens = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages).question_tokens
        document = conversation.factors["document"]
        read |= {(document, tuple(tokens[: end + 1])) for end in range(len(tokens))}
    tokens_before, rows_before = RELEASE_0_1_0
    assert len(read) * ROWS <= tokens_before * rows_before
