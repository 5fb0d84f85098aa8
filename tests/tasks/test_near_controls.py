"""Control questions near introspection are chosen by what the model answers with nothing injected."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.conversation import Conversation
from introbench.tasks.near_controls import near_controls

CONTROL_FAMILIES = schema.FAMILIES[1:]


def asked(tokenizer: PreTrainedTokenizerFast, **changes: object) -> list[Conversation]:
    arguments: dict[str, object] = {
        "documents": ["none", "info"],
        "families": (*schema.FAMILIES, schema.SALIENCE),
        "formats": None,
        "system": "",
    }
    return list(battery(tokenizer, **(arguments | changes)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def in_words(tokenizer: PreTrainedTokenizerFast) -> list[Conversation]:
    return asked(tokenizer, formats=["yes-no"])


def drawn(conversations: Sequence[Conversation]) -> dict[str, float]:
    draw = np.random.default_rng(0)
    return {conversation.id: float(draw.normal(0, 3)) for conversation in conversations}


def unread(_conversations: Sequence[Conversation]) -> Mapping[str, float]:
    raise AssertionError("the model was asked, though the arguments are not as they should be")


def of_family(conversations: Sequence[Conversation], *families: str) -> set[str]:
    return {str(c.factors["question"]) for c in conversations if c.factors["family"] in families}


def by_kind(conversations: Sequence[Conversation], kind: str) -> list[Conversation]:
    return [c for c in conversations if c.factors["answer_kind"] == kind]


def plain_distance(conversations: Sequence[Conversation], numbers: Mapping[str, float], control: str) -> float:
    """The distance of a control question by its definition, from the conversations under info."""

    def baseline(question: str, kind: str) -> float:
        values = [numbers[c.id] for c in by_kind(conversations, kind) if c.factors["question"] == question]
        return sum(values) / len(values)

    away = []
    for kind in sorted({str(c.factors["answer_kind"]) for c in conversations if c.factors["question"] == control}):
        introspection = of_family(by_kind(conversations, kind), "introspection")
        away.append(min(abs(baseline(control, kind) - baseline(question, kind)) for question in introspection))
    return sum(away) / len(away)


@pytest.mark.parametrize("cross", ["single", "full"])
def test_the_nearest_are_kept_under_every_document(tokenizer: PreTrainedTokenizerFast, cross: str) -> None:
    conversations = asked(tokenizer, cross=cross)
    under_info = [c for c in conversations if c.factors["document"] == "info"]
    numbers = drawn(under_info)
    chosen = near_controls(conversations, 20, lambda given: {c.id: numbers[c.id] for c in given})

    controls = of_family(under_info, *CONTROL_FAMILIES)
    distances = {control: plain_distance(under_info, numbers, control) for control in controls}
    assert {**chosen.kept, **chosen.left_out} == pytest.approx(distances)
    order = sorted(controls, key=lambda control: distances[control])
    expected = set()
    for kind in data.answer_kinds():
        expected |= set([name for name in order if name in of_family(by_kind(under_info, kind), *CONTROL_FAMILIES)][:3])
    for name in order:
        if len(expected) < 20:
            expected.add(name)
    assert set(chosen.kept) == expected
    assert len(expected) == 20

    others = "introspection", schema.SALIENCE
    assert of_family(chosen.conversations, *others) == of_family(conversations, *others)
    for document in ("none", "info"):
        under = [c for c in conversations if c.factors["document"] == document]
        kept = [c for c in chosen.conversations if c.factors["document"] == document]
        assert of_family(kept, *CONTROL_FAMILIES) == of_family(under, *CONTROL_FAMILIES) & expected


def test_the_log_names_what_was_kept_and_left_out(in_words: list[Conversation]) -> None:
    facts = near_controls(in_words, 5, drawn).facts["controls_near"]
    assert len(facts["kept"]) == 5
    assert list(facts["kept"].values()) == sorted(facts["kept"].values())
    assert max(facts["kept"].values()) <= min(facts["left_out"].values())


def test_questions_without_a_baseline_are_kept_last(in_words: list[Conversation]) -> None:
    lost = of_family(in_words, "ambiguous")

    def read(given: Sequence[Conversation]) -> dict[str, float]:
        return {
            c.id: math.nan if c.factors["question"] in lost else value
            for c, value in zip(given, drawn(given).values(), strict=True)
        }

    chosen = near_controls(in_words, 10, read)
    assert not lost & set(chosen.kept)
    assert {chosen.facts["controls_near"]["left_out"][name] for name in lost} == {None}


@pytest.mark.parametrize("number", [2, 0, -1, 3.0, "3", True])
def test_too_few_and_no_whole_numbers_are_refused_before_the_model_is_asked(
    in_words: list[Conversation], number: object
) -> None:
    with pytest.raises(InputError, match=r"controls_near=.*: expected a whole number from 3 to "):
        near_controls(in_words, number, unread)


def test_each_kind_needs_three(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="controls_near=11: expected a whole number from 12 to "):
        near_controls(asked(tokenizer, documents=["info"]), 11, unread)


def test_without_introspection_questions_nothing_is_near(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="controls_near: no introspection questions are asked"):
        near_controls(asked(tokenizer, families=CONTROL_FAMILIES, formats=["yes-no"]), 3, unread)
