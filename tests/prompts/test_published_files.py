"""Conversation files in the published format: read as they are meant, or refused by file and key."""

import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introbench.errors import InputError
from introbench.prompts.published_files import PublishedConversation, read_published

FIRST = {"role": "user", "content": "Something was put here.\n\nA letter “é” too. ", "add_injection": True}
REPLY = {"role": "assistant", "content": "[ ]", "add_injection": True}
LABEL = "tell_info-manual_fmt-yes-no_no_07"


def conversation(
    label: str, yes: str, no: str, extra: dict[str, Any], ask: str = "Is it?", prefill: str = "I say"
) -> Any:
    """What one file holds: a marked first turn, a question and a reply that goes on."""
    return {
        "label": label,
        "yes_token": yes,
        "no_token": no,
        "extra": extra,
        "messages": [
            {"role": "system", "content": ""},
            dict(FIRST),
            dict(REPLY),
            {"role": "user", "content": ask},
            {"role": "assistant", "content": prefill, "continue_msg": True},
        ],
    }


def control() -> Any:
    extra = {"prompt": "tell_info-manual", "format": "fmt-yes-no", "group": "no", "shown": False, "question": "Is it?"}
    return conversation(LABEL, " yes", " no", extra)


def free() -> Any:
    turns = [{"role": "user", "content": "Say a thing."}, {"role": "assistant", "content": "A thing:"}]
    return {"label": "say_a_thing", "yes_token": "", "no_token": "", "extra": {}, "messages": turns}


def write(folder: Path, *entries: Any) -> Path:
    for entry in entries:
        name = entry["label"].replace(" ", "_").replace("/", "_")
        (folder / f"{name}.json").write_text(json.dumps(entry, indent=2), encoding="utf-8")
    return folder


def read(folder: Path, entry: Any) -> PublishedConversation:
    """Read one file, whatever it holds."""
    (folder / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    (found,) = read_published(folder / "X.json")
    return found


def refusal(path: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        read_published(path)
    complaint = str(caught.value)
    assert "\n" not in complaint
    assert complaint.startswith("prompts ")
    assert "expected" in complaint
    return complaint


# One of each published kind of file, in other words.
KINDS = {
    "variants of yes": (
        conversation(
            "tell_info-none_fmt-yes-no",
            "",
            "",
            {"prompt": "tell_info-none", "format": "fmt-variants", "yes_variant_tokens": [" yes", "Yes", "\u0444"]},
        ),
        {
            "yes": (" yes", "Yes", "ф"),
            "no": (),
            "document": "none",
            "framing": "tell",
            "question": "tell_info-none",
            "answer_format": "yes-no",
        },
    ),
    "options": (
        conversation(
            "tell_info-none_mix_03",
            "",
            "",
            {"prompt": "tell_info-none", "mix": 3, "perm": [2, 0, 1]},
            "Which one?\n0. oaks\n1. (nothing)\n2. rivers",
            "Number ",
        ),
        {
            "yes": (),
            "no": (),
            "document": "none",
            "framing": "tell",
            "question": "mix_03",
            "answer_format": "",
            "order": (2, 0, 1),
        },
    ),
    "confusing control": (
        conversation(
            "tell_info-none_fmt-0-1_no_confusing_11",
            "1",
            "0",
            {"prompt": "tell_info-none", "format": "fmt-0-1", "group": "no_confusing", "question": "Is it?"},
        ),
        {
            "yes": ("1",),
            "no": ("0",),
            "document": "none",
            "framing": "tell",
            "family": "confusing",
            "question": "no_confusing_11",
            "answer_format": "0-1",
        },
    ),
    "control": (
        control(),
        {
            "yes": (" yes",),
            "no": (" no",),
            "document": "manual",
            "framing": "tell",
            "family": "always_no",
            "question": "no_07",
            "answer_format": "yes-no",
        },
    ),
    "a label against the format": (
        conversation(
            "tell-softly_info-long-poem_fmt-0-1",
            "1",
            "0",
            {"prompt": "tell-softly_info-long-poem", "format": "fmt-yes-no"},
        ),
        {
            "yes": ("1",),
            "no": ("0",),
            "document": "long-poem",
            "framing": "tell-softly",
            "question": "tell-softly_info-long-poem",
            "answer_format": "0-1",
        },
    ),
    "introspection": (
        conversation("tell_info-none_fmt-yes-no", " yes", " no", {"prompt": "tell_info-none", "format": "fmt-yes-no"}),
        {
            "yes": (" yes",),
            "no": (" no",),
            "document": "none",
            "framing": "tell",
            "question": "tell_info-none",
            "answer_format": "yes-no",
        },
    ),
    "another scheme of labels": (
        conversation("control_trees", " yes", "", {"prompt": "control_trees", "group": "control", "desc": "Trees"}),
        {"yes": (" yes",), "no": (), "family": "control", "question": "control_trees"},
    ),
    "free text": (free(), {"prior_messages": 0, "yes": (), "no": (), "question": "say_a_thing"}),
}


@pytest.mark.parametrize(("entry", "expected"), KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_file(entry: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    found = read(tmp_path, entry)
    rest = {"document": "", "framing": "", "family": "introspection", "answer_format": "", "order": ()}
    wanted = rest | {"label": entry["label"], "prior_messages": 3} | expected
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert set(wanted) == {field.name for field in fields(found)} - {"messages"}
    assert list(found.messages) == [{key: turn[key] for key in ("role", "content")} for turn in entry["messages"]]


@pytest.mark.parametrize(
    ("group", "family"),
    [
        ("no", "always_no"),
        ("yes", "always_yes"),
        ("yes_confusing", "confusing"),
        ("confusing", "confusing"),
        ("ambiguous", "ambiguous"),
        ("varied", "varied"),
        ("introspection", "introspection"),
        ("", "introspection"),
        ("no_such", "no_such"),
    ],
)
def test_families(group: str, family: str, tmp_path: Path) -> None:
    entry = control()
    entry["extra"]["group"] = group
    assert read(tmp_path, entry).family == family


def test_optional_keys_may_be_missing(tmp_path: Path) -> None:
    entry = control()
    for key in ("yes_token", "no_token", "extra"):
        del entry[key]
    found = read(tmp_path, entry)
    assert (found.yes, found.no, found.family, found.order) == ((), (), "introspection", ())
    assert (found.document, found.framing, found.answer_format) == ("manual", "tell", "yes-no"), "from the label"


def test_the_format_is_from_extra_where_the_label_has_none(tmp_path: Path) -> None:
    entry = control() | {"label": "plain"}
    assert read(tmp_path, entry).answer_format == "yes-no"


def test_the_yes_token_comes_before_the_variants(tmp_path: Path) -> None:
    entry = control()
    entry["extra"]["yes_variant_tokens"] = ["Yes"]
    assert read(tmp_path, entry).yes == (" yes",)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "X.json").write_text(json.dumps(control()), encoding="utf-8-sig")
    assert read_published(str(tmp_path / "X.json"))[0].label == LABEL


word = st.text("abcxyz-0189", min_size=1, max_size=8)


@settings(deadline=None)
@given(word, word, word, st.none() | st.tuples(word, st.integers(0, 99)), st.booleans())
def test_names_come_apart_as_they_were_put_together(
    tmp_path_factory: Any, framing: str, document: str, form: str, tail: tuple[str, int] | None, given_apart: bool
) -> None:
    prompt = f"{framing}_info-{document}"
    end = f"{tail[0]}_{tail[1]:02d}" if tail else ""
    label = "_".join([prompt, f"fmt-{form}", *([end] if end else [])])
    found = read(
        tmp_path_factory.getbasetemp(), conversation(label, "a", "b", {"prompt": prompt} if given_apart else {})
    )
    assert (found.framing, found.document, found.answer_format) == (framing, document, form)
    assert found.question == (end or (prompt if given_apart else label))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 2))
def test_the_steered_part_is_the_start_up_to_the_last_mark(tmp_path_factory: Any, marks: list[bool], n: int) -> None:
    """Whatever is read has no unmarked turn within its steered part but system turns before the first mark."""
    folder = tmp_path_factory.getbasetemp()
    entry = control()
    entry["messages"] = [{"role": "system", "content": "s"}] * n + entry["messages"][1:]
    entry["messages"] = [dict(message) for message in entry["messages"]]
    for message, mark in zip(entry["messages"], marks, strict=False):
        message["add_injection"] = mark
    text = "".join(
        "x" if message.get("add_injection") else message["role"][0].replace("u", "a") for message in entry["messages"]
    )
    stop = text.rfind("x") + 1
    allowed = text[:stop].lstrip("s").strip("x") == "" and stop < len(text)
    if allowed:
        assert read(folder, entry).prior_messages == stop
    else:
        (folder / "X.json").write_text(json.dumps(entry), encoding="utf-8")
        assert "].add_injection " in refusal(folder / "X.json")


@settings(deadline=None)
@given(st.lists(st.integers(-1, 5), max_size=5) | st.permutations(range(6)))
def test_an_order_is_a_permutation(tmp_path_factory: Any, places: list[int]) -> None:
    folder = tmp_path_factory.getbasetemp()
    entry = conversation("mix_00", "", "", {"perm": places})
    if set(places) == set(range(len(places))):
        assert read(folder, entry).order == tuple(places)
    else:
        (folder / "X.json").write_text(json.dumps(entry), encoding="utf-8")
        assert "extra.perm" in refusal(folder / "X.json")


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
    entry = copy.deepcopy(control())
    change(entry)
    (tmp_path / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    said = refusal(tmp_path / "X.json")
    assert said.startswith(f"prompts file {tmp_path / 'X.json'}: {complaint}")
    assert said.count(";") >= 1, "what to do"


def test_a_marked_reply_is_refused(tmp_path: Path) -> None:
    entry = free()
    for message in entry["messages"]:
        message["add_injection"] = True
    write(tmp_path, entry)
    assert "messages[1].add_injection True: expected the reply" in refusal(tmp_path / "say_a_thing.json")


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    entry = control() | {"extra": ["word " * 1000]}
    (tmp_path / "X.json").write_text(json.dumps(entry), encoding="utf-8")
    assert len(refusal(tmp_path / "X.json")) < 300 + len(str(tmp_path))


leaf = st.none() | st.booleans() | st.integers(-2, 3) | st.just(0.5) | st.sampled_from(["", "a", "\n", "user", "no"])
anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
places = st.sampled_from(
    [(key,) for key in control()]
    + [("extra", key) for key in ("prompt", "group", "format", "yes_variant_tokens", "perm", "question")]
    + [("messages", turn) for turn in range(5)]
    + [("messages", turn, key) for turn in range(5) for key in ("role", "content", "add_injection", "continue_msg")]
)


@settings(deadline=None, max_examples=200)
@given(places, anything)
def test_any_value_at_any_key_is_read_or_refused_in_one_line(tmp_path_factory: Any, place: Any, value: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    entry = copy.deepcopy(control())
    put(*place, value=value)(entry)
    try:
        found = read(folder, entry)
    except InputError:
        assert str(place[0]) in refusal(folder / "X.json")
    else:
        assert len(found.messages) > found.prior_messages


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
        write(tmp_path / name, control())
    assert refusal(str(tmp_path)).endswith(f"choose one of its folders, first, second, e.g. {tmp_path / 'first'}")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, control())
    assert read_published(f"~/{LABEL}.json") == read_published(tmp_path)


def labels(folder: Path) -> list[str]:
    return [found.label for found in read_published(folder)]


def test_a_folder_is_read_in_its_order(tmp_path: Path) -> None:
    write(tmp_path, *(control() | {"label": label} for label in ("b", "a", "c 1/2", "d")))
    (tmp_path / "._a.json").write_bytes(b"\x00\xff")
    (tmp_path / "notes.txt").write_text("none of these")
    assert labels(tmp_path) == ["a", "b", "c 1/2", "d"]
    order = tmp_path / "_order.json"
    order.write_text(json.dumps(["d", "c 1/2", "b", "a"]))
    assert labels(tmp_path) == ["d", "c 1/2", "b", "a"]
    order.write_text(json.dumps(["c 1/2"]))
    assert labels(tmp_path) == ["c 1/2", "a", "b", "d"], "the others come after, sorted"


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
    write(tmp_path, control() | {"label": "a"}, control() | {"label": "b"})
    (tmp_path / "_order.json").write_text(order)
    assert refusal(tmp_path).startswith(f"prompts file {tmp_path / '_order.json'}: {complaint}")


def test_two_files_with_one_label_are_refused(tmp_path: Path) -> None:
    write(tmp_path, control())
    (tmp_path / "a_copy.json").write_text(json.dumps(control()))
    said = refusal(tmp_path)
    assert said.startswith(f"prompts file {tmp_path / LABEL}.json: label {LABEL!r} is also that of a_copy.json; ")
