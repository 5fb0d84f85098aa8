"""Arguments of all tasks, as `-T` and Python callers give them: each works or is refused, before weights load."""

import functools
import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_values import anything, mutated
from inspect_ai._util.config import parse_cli_args  # what `inspect eval` makes of -T

from introbench import registry
from introbench.errors import InputError
from introbench.prompts import documents
from introbench.provider import planned_run
from introbench.provider.inspect_private import PrerequisiteError
from introbench.steering.injection import parse_layers, parse_strength
from introbench.steering.sweep_grid import parse_ranges
from introbench.tasks.arguments import choose, parse_concepts, parse_count, parse_margin, user_path
from introbench.tasks.continuations import choose_strengths

TASKS = (
    *("calibrate", "identification", "introspection", "location", "logit_lens"),
    *("model_swap", "probe", "sweep", "top_of_mind"),
)

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": "none",
    "families": ["introspection", "always_no"],
    "formats": "yes-no",
    "random_vectors": 1,
    "norm_vectors": 0,
    "ranges": "0:2",
    "strengths": [4, 8],
    "layers": "1:3",
    "finetune": "lora:cats",
}
"""What keeps a task small; an argument that is drawn stands in place of this one."""

PARTS = {"identification": "list", "location": "halves"}

USUAL: dict[str, tuple[str, ...]] = {
    "concepts": ("cats,bread", "C++,AI/ML", "1984", "new:cat", "தமிழ்", "rock & roll", "cats"),
    "documents": ("none", "info,neutral", "lorem"),
    "families": ("introspection", "always_no,always_yes", "salience"),
    "formats": ("yes-no", "a-b,b-a"),
    "parts": ("list", "naming", "halves,layers", "strength"),
    "passages": ("station", "all", "valley,library"),
    "ranges": ("triangle:2", "single", "single:2", "0:2,1:3"),
    "layers": ("0:2", "1:4", "10:20"),
    "strength": ("8", "residual:0.05", "kl:0.5", "-4"),
    "strengths": ("4,8,16", "residual:0.05", "kl:0.2,kl:0.4"),
    "method": ("pca_center", "mean_diff"),
    "steering": ("cache", "active", "both"),
    "controls": ("all", "gaussian,other", "negated"),
    "cross": ("half", "single", "full"),
    "system": ("none", "You are kind.", "''"),
    "finetune": ("lora:cats", "lora:bread:3", "nobody/nothing"),
    "prompts": ("nowhere", "/dev/null", "."),
    "vectors": ("nowhere", "/dev/null", "."),
}
"""Values as they are typed; those of numbers are drawn."""


def given(draw: random.Random, name: str) -> object:
    """A value of an argument: of the command line, as it should be or nearly so, or of any kind."""
    if draw.random() < 0.35:
        return anything(draw)
    text = draw.choice(USUAL.get(name, ("0", "1", "3", "0.5", "1e3", "7")))
    text = text if draw.random() < 0.4 else mutated(draw, text)
    try:
        return parse_cli_args([f"{name}={text}"]).get(name)
    except Exception:  # Inspect refuses what is no YAML
        return text


@pytest.fixture
def quick(tiny_folder: Path, own_cache: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model under evaluation is a tiny one; nothing is measured, and documents are fitted to it once."""
    monkeypatch.setenv("INSPECT_EVAL_MODEL", f"inject/{tiny_folder}")
    monkeypatch.setattr(planned_run, "seconds_per_block_token", lambda checkpoint: 1e-9)
    fitted = functools.cache(lambda tokenizer: documents.fitted_texts(_documents(), tokenizer))
    monkeypatch.setattr("introbench.prompts.conversation.fitted_texts", lambda _, tokenizer: fitted(tokenizer))


def _documents() -> Any:
    from introbench.prompts import data

    return data.documents()


def make(task: str, **arguments: object) -> None:
    """Make a task as Inspect does; a refusal is an `InputError` again."""
    function = getattr(registry, task)
    usual = {name: value for name, value in SMALL.items() if name in inspect.signature(function).parameters}
    usual |= {"parts": PARTS[task]} if task in PARTS else {}
    try:
        function(**usual | arguments)
    except PrerequisiteError as error:
        refusal = InputError("")
        refusal.args = (str(error.message),)
        raise refusal from error


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("task", TASKS)
def test_any_argument_works_or_is_refused(border, task: str) -> None:
    names = [name for name in inspect.signature(getattr(registry, task)).parameters if name != "unknown"]
    for draw in border.cases(3, most=300):
        arguments = {name: given(draw, name) for name in draw.sample(names, draw.choice([1, 1, 1, 2, 3]))}
        border.tries((task, arguments), lambda arguments=arguments: make(task, **arguments))


READERS: dict[str, Callable[[Any], object]] = {
    "concepts": parse_concepts,
    "documents": lambda value: choose(value, ("none", "info"), "documents"),
    "seed": lambda value: parse_count(value, "seed", most=2**32 - 1),
    "margin": parse_margin,
    "layers": lambda value: parse_layers(value, 30),
    "strength": parse_strength,
    "strengths": lambda value: choose_strengths(value, []),
    "ranges": lambda value: parse_ranges(value, 30),
    "vectors": lambda value: isinstance(value, str) and user_path(value),
}


@pytest.mark.parametrize("name", READERS)
def test_any_value_is_read_or_refused(border, name: str, told: list[str]) -> None:
    for draw in border.cases(100):
        value = given(draw, name)
        border.tries((name, value), lambda value=value: READERS[name](value))
