"""Whatever a folder declares to Inspect is found when introbench is installed."""

import ast
from pathlib import Path

import pytest

from introbench import registry

ROOT = Path(__file__).parents[1]


def declared(folder: str, decorator: str) -> set[str]:
    """Names of the functions in a folder that have a decorator of Inspect."""
    return {
        node.name
        for path in (ROOT / folder).glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if getattr(mark.func if isinstance(mark, ast.Call) else mark, "id", "") == decorator
    }


@pytest.mark.parametrize(
    ("folder", "decorator", "count"), [("evals", "task", 9), ("scorers", "scorer", 9), ("solvers", "solver", 3)]
)
def test_everything_declared_is_registered(folder: str, decorator: str, count: int) -> None:
    names = declared(folder, decorator)
    assert len(names) == count
    assert names <= set(registry.__all__)


def test_nothing_else_is_registered_but_the_provider() -> None:
    names = declared("evals", "task") | declared("scorers", "scorer") | declared("solvers", "solver")
    assert set(registry.__all__) == names | {"inject"}
    assert all(hasattr(registry, name) for name in registry.__all__)
