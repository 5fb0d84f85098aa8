"""A refusal that names an argument to pass instead: with that argument, the task is made."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._util.config import parse_cli_args  # what `inspect eval` makes of -T and -M

from introbench import registry
from introbench.errors import InputError
from introbench.provider import planned_run
from introbench.provider.inject_api import InjectAPI
from introbench.provider.inspect_private import PrerequisiteError

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": "none",
    "families": ["introspection", "always_no"],
    "formats": "yes-no",
    "random_vectors": 1,
}
"""What keeps a task small."""


@pytest.fixture(autouse=True)
def _quick(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, told: list[str]) -> None:
    monkeypatch.setenv("INSPECT_EVAL_MODEL", f"inject/{tiny_folder}")
    monkeypatch.setattr(planned_run, "seconds_per_block_token", lambda checkpoint: 1e-9)


def make(task: str, arguments: dict[str, Any]) -> None:
    function = getattr(registry, task)
    small = {name: value for name, value in SMALL.items() if name in inspect.signature(function).parameters}
    function(**small | arguments)


def remedies(message: str) -> list[tuple[str, str]]:
    """What a message says to pass: T or M, and the text behind it; capitals stand for something and are left out."""
    passed = [(kind, text.rstrip(",.;")) for kind, text in re.findall(r"-([TM]) '?(\w+=[^\s;']+)", message)]
    return [(kind, text) for kind, text in passed if not text.partition("=")[2].isupper()]


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("introspection", {"layers": "3:9"}),
        ("introspection", {"layers": "middle"}),
        ("introspection", {"strength": "much"}),
        ("introspection", {"cross": "most"}),
        ("introspection", {"margin": 0}),
        ("introspection", {"system": None}),
        ("introspection", {"concepts": [f"word{number}" for number in range(2000)]}),
        ("introspection", {"concepts": [False]}),
        ("sweep", {"ranges": "triangle"}),
        ("sweep", {"strengths": [4, 4]}),
        ("top_of_mind", {"strengths": [4, 4]}),
        ("top_of_mind", {"temperature": 99}),
        ("identification", {"concepts": [f"word{number}" for number in range(60)], "parts": "list"}),
        ("probe", {"concepts": "cats"}),
        ("model_swap", {}),
        ("model_swap", {"finetune": "lora:"}),
    ],
)
def test_a_remedy_for_a_task_argument_works(task: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        make(task, wrong)
    named = remedies(str(refusal.value.message))
    assert named, refusal.value.message
    for kind, text in named:
        assert kind == "T"
        make(task, wrong | parse_cli_args([text]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "float8"},
        {"products": "fast"},
        {"device": "cuda:77"},
        {"device_map": "cuda:77"},
        {"template_date": "yesterday"},
    ],
)
def test_a_remedy_for_a_model_argument_works(wrong: dict[str, Any], tiny_folder: Path) -> None:
    with pytest.raises((PrerequisiteError, InputError)) as refusal:
        InjectAPI(str(tiny_folder), **wrong).checkpoint.check()
    ((kind, text),) = remedies(str(getattr(refusal.value, "message", refusal.value)))
    assert kind == "M"
    InjectAPI(str(tiny_folder), **wrong | parse_cli_args([text])).checkpoint.check()
