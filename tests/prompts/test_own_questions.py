"""A user's own questions: what the file says is asked, and an error names its line and its key."""

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.own_questions import read_own_questions

GOOD = """\
introspection:
  questions:
    - {id: mine, text: "Is there anything in you that my message does not explain?", expected: no}
    - id: usual
      text: "Are you in your usual state?"
      expected: yes
      reversed: true
concepts: [owls]
documents:
  harbour: {text: "Ships lie in harbours."}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_family_of_the_file_takes_the_place_of_ours(tmp_path: Path) -> None:
    own = read_own_questions(written(tmp_path, GOOD))
    asked = [question for question in own.questions if question.family == "introspection"]
    assert [(each.id, each.expected, each.reversed, each.framing) for each in asked] == [
        ("mine", "no", False, "accurate"),
        ("usual", "yes", True, "accurate"),
    ]
    assert asked[0].formats == tuple(data.answer_formats())
    others = [question for question in data.questions() if question.family != "introspection"]
    assert [question for question in own.questions if question.family != "introspection"] == others
    assert own.concepts == ("owls",)
    assert own.documents["harbour"] == schema.Document("harbour", "accurate", "Ships lie in harbours.")
    assert {**data.documents(), "harbour": own.documents["harbour"]} == own.documents
    assert own.facts == {
        "questions_file": "own.yaml",
        "questions_digest": hashlib.sha256(GOOD.encode()).hexdigest(),
        "questions_families": ["introspection"],
    }


def test_our_own_questions_are_such_a_file(tmp_path: Path) -> None:
    ours = Path(__file__).parents[2] / "datasets/questions.yaml"
    text = ours.read_text(encoding="utf-8").replace("  reference_only: true\n", "")
    own = read_own_questions(written(tmp_path, text))
    assert set(own.questions) == set(data.questions())


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("expected: no", "expcted: no", "line 3: key 'expcted'; expected one of id, text, expected"),
        ("expected: no", "expected: maybe", "line 3: expected: 'maybe'; expected 'yes', 'no' or 'either'"),
        ("      expected: yes\n", "", "line 4: no key 'expected'"),
        ("reversed: true", "reversed: yes", "line 7: reversed: 'yes'; expected true or false"),
        ("id: usual", "id: mine", "line 4: id 'mine' stands twice"),
        ("id: usual", "id: sum-two", "line 4: id 'sum-two' stands twice"),
        ("id: usual", "id: 5", "line 4: id: 5; expected a text"),
        ("id: usual", "id: a b", "line 4: id: 'a b'; expected letters, digits"),
        ("Are you in your usual state?", " ", "line 5: text: ' '; expected some text"),
        ("reversed: true", "framing: odd", "line 7: framing: 'odd'; expected 'accurate', 'vague' or 'figurative'"),
        ("introspection:", "introspecton:", "line 1: key 'introspecton'; expected one of introspection, always_no"),
        ("introspection:", "ambiguous:", None),
        ("  questions:", "  formats: [yess]\n  questions:", "line 2: format 'yess'; expected one of yes-no"),
        ("[owls]", "owls", "line 8: concepts: 'owls'; expected a list"),
        ("[owls]", "[owls, owls]", "line 8: concept 'owls'; expected a name in one line, each once"),
        ("[owls]", "[owls", "line 9: "),
        ("harbour", "info", "line 10: document 'info' is one of ours; expected another name"),
        ("    - id: usual", "    - &a [*a]\n    - id: usual", "line 4: entry 2: "),
    ],
)
def test_an_error_names_its_line_and_key(tmp_path: Path, found: str, instead: str, message: str | None) -> None:
    assert found in GOOD
    path = written(tmp_path, GOOD.replace(found, instead, 1))
    if message is None:
        assert read_own_questions(path).families == ("ambiguous",)
        return
    with pytest.raises(InputError) as raised:
        read_own_questions(path)
    assert f"own.yaml, {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"concepts: [cats]", b"introspection: {questions: []}", b"5"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"own\.yaml"):
        read_own_questions(path)
    with pytest.raises(InputError, match="expected a readable YAML file"):
        read_own_questions(tmp_path / "none.yaml")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD)), st.text(max_size=6))
def test_no_file_breaks_the_reader(tmp_path: Path, place: int, inserted: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes((GOOD[:place] + inserted + GOOD[place:]).encode("utf-8", "replace"))
    with contextlib.suppress(InputError):
        read_own_questions(path)


def test_the_battery_asks_them_under_its_documents_and_marks_the_file(tmp_path: Path, tiny_folder: Path) -> None:
    own = read_own_questions(written(tmp_path, GOOD))
    conversations = list(
        battery(
            Checkpoint(str(tiny_folder)).tokenizer,
            documents=["harbour"],
            families=["introspection"],
            formats=["yes-no"],
            system="",
            own=own,
        )
    )
    assert [each.id for each in conversations] == [
        f"harbour.{name}.yes-no.{own.digest[:8]}" for name in ("mine", "usual")
    ]
    assert "Ships lie in harbours." in conversations[0].messages[1]["content"]
    assert "Are you in your usual state?" in conversations[1].question[0]["content"]


def test_a_kind_is_asked_in_the_format_that_all_of_its_questions_have(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A kind in which some wordings had one order of the labels and some the other could not be averaged."""
    text = """\
confusing:
  formats: [yes-no, a-b, zero-one]
  questions: [{id: mine, text: "Is mud soft?", expected: either}]
"""
    own = read_own_questions(written(tmp_path, text))
    conversations = list(
        battery(tokenizer, documents=["info"], families=schema.FAMILIES, formats=None, system="", cross="full", own=own)
    )
    formats: dict[str, set[str]] = {conversation.factors["question"]: set() for conversation in conversations}
    for conversation in conversations:
        formats[conversation.factors["question"]].add(conversation.factors["format"])
    assert formats.pop("mine") == {"yes-no", "zero-one", "a-b"}
    assert all(asked == {"yes-no", "zero-one", "a-b", "red-blue"} for asked in formats.values())
