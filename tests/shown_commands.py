"""The code and the commands that documents and docstrings show to users, for tests that check or run them."""

import ast
import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
TASKS = sorted(path.stem for path in (ROOT / "evals").glob("*.py") if path.stem != "__init__")


def code_blocks(path: Path, language: str) -> list[str]:
    """The blocks of code of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands_of(text: str) -> list[list[str]]:
    """The words of every command of some lines of a shell; comments are left out."""
    return [
        words
        for line in text.replace("\\\n", " ").splitlines()
        for command in line.split("&&")
        if (words := shlex.split(command, comments=True))
    ]


def _workflow() -> str:
    workflow = yaml.safe_load((ROOT / "docs/workflows/introspection.yml").read_text(encoding="utf-8"))
    return "\n".join(step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step)


def _of_docstring(task: str) -> str:
    tree = ast.parse((ROOT / "evals" / f"{task}.py").read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == task]
    text = (ast.get_docstring(function) or "").replace("\\\n", " ")
    return "\n".join(re.findall(r"^    (inspect eval .+)$", text, flags=re.MULTILINE))


COMMANDS = [
    (place, words)
    for place, text in [
        *((path.name, block) for path in DOCUMENTS for block in code_blocks(path, "bash")),
        ("introspection.yml", _workflow()),
        *((f"{task}.py", _of_docstring(task)) for task in TASKS),
    ]
    for words in commands_of(text)
]
"""Every command of the documents, of the workflow and of the tasks' docstrings, with the file that it stands in."""


def words_after(words: list[str], option: str) -> list[str]:
    """What stands after each occurrence of an option."""
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == option]
