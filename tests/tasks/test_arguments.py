"""What users pass with `-T`: read as it is meant, or refused with what to do."""

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai._util.config import parse_cli_args

from introbench.errors import InputError
from introbench.prompts import data
from introbench.records.factors import id_of_concept
from introbench.tasks.arguments import (
    Names,
    Words,
    choose,
    parse_concepts,
    parse_descriptions,
    parse_margin,
    typed_arguments,
    user_path,
)


@typed_arguments
def example(concepts: Words = None, documents: Names = None, seed: int = 0, system: str | None = "") -> Task:
    """A task that says in its name what it was made with."""
    return Task(name=repr((concepts, documents, seed, system)))


def typed(*arguments: str) -> Any:
    """The arguments of the task as Inspect reads them from the command line."""
    return eval(example(**parse_cli_args(list(arguments))).name)


def test_an_argument_that_a_task_does_not_have_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"'concept': example has no such argument; .* did you mean concepts\?"):
        example(concept="cats")
    with pytest.raises(InputError, match=r"'limit': .* pass one of concepts, documents, seed, system"):
        example(limit=3)
    assert any(p.kind is p.VAR_KEYWORD for p in inspect.signature(example).parameters.values()), "Inspect asks for it"


@pytest.mark.parametrize("empty", ["concepts=null", "concepts=", "documents=~", "seed=", "documents=''"])
def test_an_argument_without_a_value_is_not_its_default(empty: str) -> None:
    assert typed("concepts=cats") == ("cats", None, 0, "")
    with pytest.raises(InputError, match=r"expected a value; leave (concepts|documents|seed) out to have its default"):
        typed(empty)


def test_an_empty_system_turn_is_one_and_null_is_not_none() -> None:
    assert typed("system=''")[3] == ""
    assert typed("system=none")[3] == "none"
    with pytest.raises(InputError, match="pass -T system=none for no system turn"):
        typed("system=null")


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("concepts=no", "concepts=False: expected text or a number or a list; .* -T 'concepts=\"no\"'"),
        ("concepts=2001-09-11", "expected text or a number"),
        ("concepts={cats: 1}", r"concepts=\{'cats': 1\}: expected"),
        ("documents=3", "documents=3: expected text or a list"),
        ("seed=1.5", "seed=1.5: expected a whole number; correct it$"),
        ("seed=yes", "seed=True: expected a whole number"),
        ("system=[a]", r"system=\['a'\]: expected text"),
    ],
)
def test_values_of_another_type_are_refused(argument: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        typed(argument)


def test_a_remedy_that_is_named_works() -> None:
    assert typed('concepts="no"')[0] == "no"
    assert typed('concepts="2001-09-11"')[0] == "2001-09-11"


def test_text_that_no_encoding_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"system='a\\ud800': expected text"):
        example(system="a\ud800")


def test_concepts_can_be_any_words(told: list[str]) -> None:
    assert parse_concepts(None)[0] == "cats"
    assert parse_concepts("volcanoes") == ("volcanoes",)
    assert parse_concepts(["cats", "ice cream"]) == ("cats", "ice cream")
    assert parse_concepts(["trust", "glove", "musical", "new:cat"]) == ("trust", "glove", "musical", "cat")
    assert told == []


NAMES = """
देवनागरी
ไทย
كتب
می\u200cخورم
日本語
e\u0301te\u0301
d\u2019accord
rock 'n' roll
F#
C++
.NET
snake_case
R&B
TCP/IP
e.g.
x = y?
100%
4chan
mRNA
🐍
{braces}
(a)
a:b
-1
""".strip().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_with_any_signs_are_concepts(name: str) -> None:
    assert parse_concepts(name) == (name,)
    assert len({id_of_concept(other) for other in (name, "cats", name.upper() + "x")}) == 3


def test_numbers_are_concepts_as_they_are_written() -> None:
    assert parse_concepts([1789, 3.5, "007"]) == ("1789", "3.5", "007")


@pytest.mark.parametrize("slip", ["cat", "Bread", "creativty", "programing"])
def test_a_concept_that_is_nearly_a_published_one_is_warned_of_and_run(slip: str, told: list[str]) -> None:
    assert parse_concepts(slip) == (slip,)
    assert len(told) == 1
    assert f"{slip!r} is taken as it stands" in told[0]
    assert any(repr(concept) in told[0] for concept in data.concepts())


NONSENSE = (
    *("", "  ", "new:", False, [], ["cats", "cats"], ["\u00e9", "e\u0301"]),
    *("a\nb", "\x1b[31m", "\u202eabc", "x" * 101, 10**400, math.nan, ["cats", "a\0"]),
)


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_what_is_no_line_of_text_is_no_concept(nonsense: object) -> None:
    with pytest.raises(InputError, match="expected"):
        parse_concepts(nonsense)


def test_descriptions_belong_to_concepts_that_are_injected() -> None:
    assert parse_descriptions(None, ["tuned"]) == {}
    assert parse_descriptions({"tuned": "insecure code"}, ["tuned", "cats"]) == {"tuned": "insecure code"}
    with pytest.raises(InputError, match="descriptions='tuend': expected one of tuned, cats; did you mean tuned"):
        parse_descriptions({"tuend": "insecure code"}, ["tuned", "cats"])
    with pytest.raises(InputError, match=r"descriptions: 'two\\nlines' for 'tuned': expected at most 100 characters"):
        parse_descriptions({"tuned": "two\nlines"}, ["tuned"])


@pytest.mark.parametrize("margin", [0, -1, math.nan, math.inf, 10**400, True, "1"])
def test_a_margin_is_a_number_above_zero(margin: object) -> None:
    assert parse_margin(2) == 2.0
    with pytest.raises(InputError, match=r"margin=.*: expected a number of nats above 0"):
        parse_margin(margin)


def test_choices_suggest_what_was_meant() -> None:
    assert choose(None, ("a", "b"), "documents") == ("a", "b")
    with pytest.raises(InputError, match="documents='lorm': expected one of info, lorem; did you mean lorem"):
        choose("lorm", ("info", "lorem"), "documents")
    with pytest.raises(InputError, match="documents=3: expected one of info, lorem"):
        choose(["info", 3], ("info", "lorem"), "documents")
    with pytest.raises(InputError, match="expected at least one"):
        choose([], ("info",), "documents")


def test_paths_are_relative_to_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect makes a task in the folder of its file."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "evals").mkdir()
    monkeypatch.chdir(tmp_path / "evals")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert user_path("prompts") == tmp_path / "prompts"
    assert user_path("./prompts").exists()
    assert user_path("nowhere") == Path("nowhere")
    assert user_path(str(tmp_path / "prompts")) == tmp_path / "prompts"
    (tmp_path / "evals" / "prompts").mkdir()
    assert user_path("prompts") == Path("prompts"), "what is really there comes first"


@pytest.mark.parametrize("text", ["x" * 300, "a/" * 3000, "a\0b", "~nobody-has-this-name/x"])
def test_what_can_be_no_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"path '.*: .*; expected one that this machine can have"):
        user_path(text)
