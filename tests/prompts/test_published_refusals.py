"""Malformed conversation files in the published format are refused by file and key."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_entries import LABEL, control_question, free_text, read, refusal, write

from introbench.errors import InputError


def put(*path: str | int, value: Any) -> Any:
    """A change that sets what stands at a path of keys."""

    def change(entry: Any) -> None:
        for step in path[:-1]:
            entry = entry[step]
        entry[path[-1]] = value

    return change


def drop(*path: str | int) -> Any:
    """A change that takes out what stands at a path of keys."""

    def change(entry: Any) -> None:
        for step in path[:-1]:
            entry = entry[step]
        del entry[path[-1]]

    return change


def three_marks(entry: Any) -> None:
    entry["messages"][3]["add_injection"] = True
    del entry["messages"][2]["add_injection"]


CHANGES = [
    (drop("label"), "label missing: expected a string"),
    (put("label", value=7), "label 7: expected a string"),
    (put("label", value=""), "label '': expected a name"),
    (put("labels", value=""), "'labels' unknown: expected one of label, messages, "),
    (drop("messages"), "messages missing: expected a list"),
    (put("messages", value={}), "messages {}: expected a list"),
    (put("messages", value=[]), "messages []: expected at least"),
    (put("messages", 1, value="hi"), "messages[1] 'hi': expected an object"),
    (drop("messages", 1, "role"), "messages[1].role missing: expected a string"),
    (put("messages", 2, "role", value="tool"), "messages[2].role 'tool': expected one of system, user, assistant; "),
    (put("messages", 2, "role", value=["user"]), "messages[2].role ['user']: expected a string"),
    (drop("messages", 3, "content"), "messages[3].content missing: expected a string"),
    (put("messages", 3, "content", value=None), "messages[3].content None: expected a string"),
    (put("messages", 3, "content", value=["a\nb"]), "messages[3].content ['a\\nb']: expected a string"),
    (put("messages", 1, "add_injecton", value=True), "messages[1].'add_injecton' unknown: expected one of role, "),
    (put("messages", 1, "add_injection", value=1), "messages[1].add_injection 1: expected true or false"),
    (put("messages", 4, "continue_msg", value="yes"), "messages[4].continue_msg 'yes': expected true or false"),
    (put("messages", 4, "continue_msg", value=False), "messages[4].continue_msg False: expected the last message"),
    (
        put("messages", 2, "continue_msg", value=True),
        "messages[2].continue_msg True: expected the last message, and no",
    ),
    (put("messages", 4, "role", value="user"), "messages[4].role 'user': expected the last message to be the assist"),
    (drop("messages", 4), "messages[3].role 'user': expected the last message to be the assist"),
    (three_marks, "messages[2].add_injection False: expected true, because messages[3] after it is marked"),
    (drop("messages", 1, "add_injection"), "messages[1].add_injection False: expected true, because messages[2]"),
    (put("messages", 0, "role", value="user"), "messages[0].add_injection False: expected true, because messages[2]"),
    (put("yes_token", value=1), "yes_token 1: expected a string"),
    (put("no_token", value=None), "no_token None: expected a string"),
    (put("extra", value=[]), "extra []: expected an object"),
    (put("extra", "prompt", value=3), "extra.prompt 3: expected a string"),
    (put("extra", "group", value=["no"]), "extra.group ['no']: expected a string"),
    (put("extra", "format", value=None), "extra.format None: expected a string"),
    (put("extra", "yes_variant_tokens", value="yes"), "extra.yes_variant_tokens 'yes': expected a list"),
    (put("extra", "yes_variant_tokens", value=["y", ""]), "extra.yes_variant_tokens ['y', '']: expected a list of non"),
    (put("extra", "yes_variant_tokens", value=[1]), "extra.yes_variant_tokens [1]: expected a list of non-empty"),
    (put("extra", "perm", value="01"), "extra.perm '01': expected a list"),
    (put("extra", "perm", value=[1, 2]), "extra.perm [1, 2]: expected each of 0, 1, 2, ... once"),
    (put("extra", "perm", value=[0, True]), "extra.perm [0, True]: expected each of 0, 1, 2, ... once"),
    (put("extra", "perm", value=[0, None]), "extra.perm [0, None]: expected each of 0, 1, 2, ... once"),
]


@pytest.mark.parametrize(("change", "complaint"), CHANGES, ids=[complaint[:32] for _, complaint in CHANGES])
def test_bad_files_are_refused(change: Any, complaint: str, tmp_path: Path) -> None:
    entry = copy.deepcopy(control_question())
    change(entry)
    (tmp_path / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    said = refusal(tmp_path / "X.json")
    assert said.startswith(f"prompts file {tmp_path / 'X.json'}: {complaint}")
    assert said.count(";") >= 1, "what to do"


def test_a_marked_reply_is_refused(tmp_path: Path) -> None:
    entry = free_text()
    for message in entry["messages"]:
        message["add_injection"] = True
    write(tmp_path, entry)
    assert "messages[1].add_injection True: expected the reply" in refusal(tmp_path / "say_a_thing.json")


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    entry = control_question() | {"extra": ["word " * 1000]}
    (tmp_path / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    assert len(refusal(tmp_path / "X.json")) < 300 + len(str(tmp_path))


leaf = st.none() | st.booleans() | st.integers(-2, 3) | st.just(0.5) | st.sampled_from(["", "a", "\n", "user", "no"])

anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))

places = st.sampled_from(
    [(key,) for key in control_question()]
    + [("extra", key) for key in ("prompt", "group", "format", "yes_variant_tokens", "perm", "question")]
    + [("messages", turn) for turn in range(5)]
    + [("messages", turn, key) for turn in range(5) for key in ("role", "content", "add_injection", "continue_msg")]
)


@settings(deadline=None, max_examples=200)
@given(places, anything)
def test_any_value_at_any_key_is_read_or_refused_in_one_line(tmp_path_factory: Any, place: Any, value: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    entry = copy.deepcopy(control_question())
    put(*place, value=value)(entry)
    try:
        parsed = read(folder, entry)
    except InputError:
        assert str(place[0]) in refusal(folder / "X.json")
    else:
        assert len(parsed.messages) > parsed.prior_messages


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b'{\n  "label": "a"\n  "messages": []\n}', "line 3: Expecting ',' delimiter; expected JSON"),
        (b"", "line 1: Expecting value; expected JSON"),
        (b'["a"]', "['a']: expected an object with label and messages"),
        (b'{"label": "\xff"}', "cannot be read ('utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_is_no_conversation_is_refused(text: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "X.json").write_bytes(text)
    assert refusal(tmp_path).startswith(f"prompts file {tmp_path / 'X.json'}: {complaint}")


def test_a_path_without_conversations_is_refused(tmp_path: Path) -> None:
    assert "gone: does not exist; expected a .json file or a folder" in refusal(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("{}")
    assert "notes.txt: is no .json file; expected a .json file" in refusal(tmp_path / "notes.txt")
    assert "holds no conversation; expected a folder of .json files; correct the path" in refusal(tmp_path)
    (tmp_path / "_order.json").write_text("[]")
    assert "holds no conversation" in refusal(tmp_path)


def test_a_folder_of_groups_names_them(tmp_path: Path) -> None:
    for name in ("second", "first", ".hidden"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, control_question())
    assert refusal(tmp_path).endswith(f"choose one of its folders, first, second, e.g. {tmp_path / 'first'}")


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ('["a", "none/such"]', "label 'none/such': expected its file none_such.json in the same folder; add"),
        ('["_order"]', "label '_order': expected its file _order.json"),
        ('["a", "a"]', "label 'a': its file a.json is listed twice; expected it once"),
        ('["a", 1]', "['a', 1]: expected a list of labels"),
        ('{"a": 1}', "{'a': 1}: expected a list of labels"),
        ("[\n\n", "line 3: Expecting value; expected JSON"),
    ],
)
def test_bad_orders_are_refused(order: str, complaint: str, tmp_path: Path) -> None:
    write(tmp_path, control_question() | {"label": "a"}, control_question() | {"label": "b"})
    (tmp_path / "_order.json").write_text(order)
    assert refusal(tmp_path).startswith(f"prompts file {tmp_path / '_order.json'}: {complaint}")


def test_two_files_with_one_label_are_refused(tmp_path: Path) -> None:
    write(tmp_path, control_question())
    (tmp_path / "a_copy.json").write_text(json.dumps(control_question()))
    said = refusal(tmp_path)
    assert said.startswith(f"prompts file {tmp_path / LABEL}.json: label {LABEL!r} is also that of a_copy.json; ")
