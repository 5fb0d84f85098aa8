"""Conversation files in the published format are read as their authors mean them."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_entries import LABEL, control_question, conversation, free_text, read, refusal, write

from introbench.prompts.published_files import read_published

# One file of every published kind, in words that differ from the published ones.
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
    "confusing control question": (
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
    "control question": (
        control_question(),
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
    "free text": (free_text(), {"prior_messages": 0, "yes": (), "no": (), "question": "say_a_thing"}),
}


@pytest.mark.parametrize(("entry", "expected"), KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_file(entry: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    parsed = read(tmp_path, entry)
    rest = {"document": "", "framing": "", "family": "introspection", "answer_format": "", "order": ()}
    wanted = rest | {"label": entry["label"], "prior_messages": 3} | expected
    assert {name: getattr(parsed, name) for name in wanted} == wanted
    assert set(wanted) == {field.name for field in fields(parsed)} - {"messages"}
    assert list(parsed.messages) == [{key: turn[key] for key in ("role", "content")} for turn in entry["messages"]]


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
    entry = control_question()
    entry["extra"]["group"] = group
    assert read(tmp_path, entry).family == family


def test_optional_keys_may_be_missing(tmp_path: Path) -> None:
    entry = control_question()
    for key in ("yes_token", "no_token", "extra"):
        del entry[key]
    parsed = read(tmp_path, entry)
    assert (parsed.yes, parsed.no, parsed.family, parsed.order) == ((), (), "introspection", ())
    assert (parsed.document, parsed.framing, parsed.answer_format) == ("manual", "tell", "yes-no"), "from the label"


def test_the_format_is_from_extra_where_the_label_has_none(tmp_path: Path) -> None:
    entry = control_question() | {"label": "plain"}
    assert read(tmp_path, entry).answer_format == "yes-no"


def test_the_yes_token_comes_before_the_variants(tmp_path: Path) -> None:
    entry = control_question()
    entry["extra"]["yes_variant_tokens"] = ["Yes"]
    assert read(tmp_path, entry).yes == (" yes",)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "X.json").write_text(json.dumps(control_question()), encoding="utf-8-sig")
    assert read_published(tmp_path / "X.json")[0].label == LABEL


word = st.text("abcxyz-0189", min_size=1, max_size=8)


@settings(deadline=None)
@given(word, word, word, st.none() | st.tuples(word, st.integers(0, 99)), st.booleans())
def test_names_come_apart_as_they_were_put_together(
    tmp_path_factory: Any, framing: str, document: str, form: str, tail: tuple[str, int] | None, given_apart: bool
) -> None:
    prompt = f"{framing}_info-{document}"
    end = f"{tail[0]}_{tail[1]:02d}" if tail else ""
    label = "_".join([prompt, f"fmt-{form}", *([end] if end else [])])
    parsed = read(
        tmp_path_factory.getbasetemp(), conversation(label, "a", "b", {"prompt": prompt} if given_apart else {})
    )
    assert (parsed.framing, parsed.document, parsed.answer_format) == (framing, document, form)
    assert parsed.question == (end or (prompt if given_apart else label))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 2))
def test_the_steered_part_is_the_start_up_to_the_last_mark(tmp_path_factory: Any, marks: list[bool], n: int) -> None:
    """Whatever is read has no unmarked turn within its steered part but system turns before the first mark."""
    folder = tmp_path_factory.getbasetemp()
    entry = control_question()
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


def labels(folder: Path) -> list[str]:
    return [parsed.label for parsed in read_published(folder)]


def test_a_folder_is_read_in_its_order(tmp_path: Path) -> None:
    write(tmp_path, *(control_question() | {"label": label} for label in ("b", "a", "c 1/2", "d")))
    (tmp_path / "._a.json").write_bytes(b"\x00\xff")
    (tmp_path / "notes.txt").write_text("none of these")
    assert labels(tmp_path) == ["a", "b", "c 1/2", "d"]
    order = tmp_path / "_order.json"
    order.write_text(json.dumps(["d", "c 1/2", "b", "a"]))
    assert labels(tmp_path) == ["d", "c 1/2", "b", "a"]
    order.write_text(json.dumps(["c 1/2"]))
    assert labels(tmp_path) == ["c 1/2", "a", "b", "d"], "the others come after, sorted"
