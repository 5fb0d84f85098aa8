"""Model arguments, as `-M` and Python callers give them: each works or is refused, without the weights."""

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from drawn_values import anything, mutated
from inspect_ai._util.config import parse_cli_args  # what `inspect eval` makes of -M

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.provider.inject_api import InjectAPI
from introbench.provider.inspect_private import PrerequisiteError

NAMES = [field.name for field in fields(Checkpoint) if field.name != "name"]

USUAL: dict[str, tuple[str, ...]] = {
    "dtype": ("float32", "bfloat16", "auto"),
    "device": ("cpu", "cuda", "cuda:9"),
    "device_map": ("auto", "cpu", "{'': cpu}", "{'': 0}"),
    "revision": ("main", "v1"),
    "attn_implementation": ("eager", "sdpa", "flash_attention_2"),
    "quantization_config": ("{quant_method: torchao}", "{load_in_4bit: true}", "{quant_method: bitsandbytes}"),
    "trust_remote_code": ("true", "false", "no"),
    "chat_template": ("chatml", "nowhere.jinja", "/dev/null", "."),
    "memory": ("8", "0.5"),
    "products": ("onednn", "blas"),
    "template_date": ("2024-07-26", "2001-09-11"),
}
"""Values as they are typed."""


def given(draw: random.Random, name: str) -> object:
    """A value of an argument: as it should be or nearly so, or of any kind."""
    if draw.random() < 0.35:
        return anything(draw)
    text = draw.choice(USUAL.get(name, ("1", "x")))
    text = text if draw.random() < 0.4 else mutated(draw, text)
    try:
        return parse_cli_args([f"{name}={text}"]).get(name)
    except Exception:  # Inspect refuses what is no YAML
        return text


def find(folder: Path, arguments: dict[str, Any]) -> None:
    """Find a model as Inspect does, and check it as tasks do; a refusal is an `InputError` again."""
    try:
        checkpoint = InjectAPI(str(folder), **arguments).checkpoint
    except PrerequisiteError as error:
        refusal = InputError("")
        refusal.args = (str(error.message),)
        raise refusal from error
    checkpoint.check()
    assert checkpoint.revision_digest


@pytest.mark.usefixtures("told")
def test_any_argument_works_or_is_refused(border, tiny_folder: Path) -> None:
    for draw in border.cases(40, most=3000):
        arguments = {name: given(draw, name) for name in draw.sample(NAMES, draw.choice([1, 1, 1, 2]))}
        border.tries(arguments, lambda arguments=arguments: find(tiny_folder, arguments))
