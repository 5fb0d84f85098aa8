"""Files of published conversations: each works or is refused, whatever stands in it."""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from drawn_values import anything, characters, mutated
from published_entries import control_question

from introbench.errors import InputError
from introbench.prompts.published import published
from introbench.prompts.published_files import read_published


def places_of(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all places in a JSON value, but its root."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((*at, key), *places_of(value[key], (*at, key)))]


def spoilt(draw: random.Random, entry: Any) -> bytes:
    """A file's content, with something changed in it: a place of its object, or some characters of its text."""
    entry = copy.deepcopy(entry)
    if draw.random() < 0.6:
        *way, last = draw.choice(places_of(entry))
        inside = entry
        for key in way:
            inside = inside[key]
        if draw.random() < 0.2:
            del inside[last]
        else:
            inside[last] = (
                mutated(draw, inside[last]) if isinstance(inside[last], str) and draw.random() < 0.5 else anything(draw)
            )
        if isinstance(inside, dict) and draw.random() < 0.1:
            inside[characters(draw)] = anything(draw)
    try:
        text = json.dumps(entry, default=repr)
    except (ValueError, RecursionError):  # what JSON has no notation for
        text = "[" * 100_000
    if draw.random() < 0.4:
        text = mutated(draw, text)
    content = text.encode(errors="surrogatepass")
    return bytes(draw.randbytes(3)) + content if draw.random() < 0.05 else content


def test_any_file_works_or_is_refused(border, tmp_path: Path, tokenizer: Any) -> None:
    file = tmp_path / "conversation.json"
    for draw in border.cases(150):
        content = spoilt(draw, control_question())
        file.write_bytes(content)
        if border.tries(content, lambda: read_published(file)):
            border.tries(content, lambda: published(tokenizer, [file]))


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "", "\ufeff", "null", "\0"])
def test_what_is_hard_to_parse_is_refused(content: str, border, tmp_path: Path) -> None:
    (tmp_path / "conversation.json").write_text(content)
    assert not border.tries(content, lambda: read_published(tmp_path / "conversation.json"))
    (tmp_path / "_order.json").write_text(content)
    assert not border.tries(content, lambda: read_published(tmp_path))


def test_a_pipe_does_not_keep_a_run_waiting(border, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "conversation.json")
    for path in (tmp_path / "conversation.json", tmp_path):
        with pytest.raises(InputError, match=r"is no \.json file|holds no conversation"):
            read_published(path)
