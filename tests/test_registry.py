"""Whatever a folder declares to Inspect is found when introbench is installed."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai._util.registry import registry_info  # there is no public name for it

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
    ("folder", "decorator", "count"), [("evals", "task", 10), ("scorers", "scorer", 10), ("solvers", "solver", 4)]
)
def test_everything_declared_is_registered(folder: str, decorator: str, count: int) -> None:
    names = declared(folder, decorator)
    assert len(names) == count
    assert names <= set(registry.__all__)


def test_nothing_else_is_registered_but_the_provider() -> None:
    names = declared("evals", "task") | declared("scorers", "scorer") | declared("solvers", "solver")
    assert set(registry.__all__) == names | {"inject"}
    assert all(hasattr(registry, name) for name in registry.__all__)


@pytest.mark.parametrize("task", sorted(declared("evals", "task")))
def test_a_task_is_itself_once_it_is_asked_for(task: str) -> None:
    registered = getattr(registry, task)
    assert registry_info(registered).name == f"introbench/{task}"
    assert inspect.signature(registered) == inspect.signature(getattr(sys.modules[f"introbench.evals.{task}"], task))


IMPORTS = """
import sys
from importlib.metadata import entry_points
for group in ("inspect_ai", "pytest11"):
    (entry,) = entry_points(group=group, name="introbench")
    entry.load()
from inspect_ai.hooks._hooks import get_all_hooks  # looks at all that is registered
get_all_hooks()
print(sorted({"torch", "transformers", "matplotlib"} & set(sys.modules)))
from inspect_ai._util.registry import registry_lookup
assert "unknown" in str(__import__("inspect").signature(registry_lookup("task", "introbench/introspection")))
itself = sys.modules["introbench.evals.introspection"].introspection
assert registry_lookup("task", "introbench/introspection") is itself
"""


@pytest.mark.slow
def test_what_every_project_imports_has_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
    assert done.returncode == 0, done.stderr
