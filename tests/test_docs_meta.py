"""The register's entry, the versions' page, the citation, the workflow and the commands of documents are true."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from shown_commands import COMMANDS, DOCUMENTS, ROOT, TASKS, code_blocks, words_after

from introbench import __version__, registry
from introbench.cli import main as introbench_command
from introbench.prompts.own_questions import read_own_questions


def version_in_code(task: str) -> int:
    """The version that a task gives to Inspect."""
    (version,) = [
        keyword.value.value
        for node in ast.walk(ast.parse((ROOT / "evals" / f"{task}.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Task"
        for keyword in node.keywords
        if keyword.arg == "version" and isinstance(keyword.value, ast.Constant)
    ]
    return version


def arguments_of(task: str) -> set[str]:
    """Names of a task's arguments, read from its source."""
    tree = ast.parse((ROOT / "evals" / f"{task}.py").read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == task]
    return {argument.arg for argument in function.args.args + function.args.kwonlyargs}


def register_entry() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "eval.yaml").read_text(encoding="utf-8"))


def version_lines() -> list[tuple[str, int, str]]:
    """Task, version and release of every line of the page of versions."""
    text = (ROOT / "docs/versions.md").read_text(encoding="utf-8")
    return [
        (task, int(number), since)
        for task, number, since in re.findall(r"^\| (\w+) \| (\d+) \| ([\w.]+) \| [^|]+ \|$", text, flags=re.MULTILINE)
    ]


def test_the_register_names_every_task_with_its_version() -> None:
    entry = register_entry()
    assert {task["name"] for task in entry["tasks"]} == set(TASKS)
    assert set(TASKS) <= set(registry.__all__)
    for task in entry["tasks"]:
        assert task["task_path"] == f"evals/{task['name']}.py"
        assert task["task_version"] == version_in_code(task["name"]), task["name"]
        assert task["dataset_samples"] > 0
    assert re.fullmatch(r"[1-9]\d*-[A-Z]", entry["version"])
    assert int(entry["version"].partition("-")[0]) == max(map(version_in_code, TASKS))
    assert {"title", "description", "arxiv", "group", "contributors"} <= set(entry)


@pytest.mark.parametrize("task", TASKS)
def test_every_version_of_a_task_has_a_line(task: str) -> None:
    numbers = [number for name, number, _ in version_lines() if name == task]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == version_in_code(task)
    assert {name for name, _, _ in version_lines()} == set(TASKS)


def test_the_citation_is_whole() -> None:
    """Fields that the format 1.2.0 requires of a file and of each reference."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year", "notes"} <= set(reference), reference
        assert all("family-names" in author or "name" in author for author in reference["authors"])
        for path in re.findall(r"introbench/[\w/]+\.py", reference["notes"]):
            assert (ROOT / path).is_file(), path


def of_program(*program: str) -> list[Any]:
    """The commands of one program, as parameters of a test."""
    found = [
        pytest.param(words, id=f"{place}-{number}")
        for number, (place, words) in enumerate(COMMANDS)
        if tuple(Path(word).name for word in words[: len(program)]) == program
    ]
    assert found
    return found


@pytest.mark.parametrize("words", of_program("inspect", "eval"))
def test_an_evaluation_of_the_documents_has_its_task_arguments_and_files(words: list[str]) -> None:
    task = Path(words[2]).stem.replace("introbench/", "")
    if task in {"NAME", "eval"}:
        return
    assert task in TASKS
    for given in words_after(words, "-T"):
        name, _, value = given.partition("=")
        assert name in arguments_of(task), given
        if value.startswith("docs/"):
            assert (ROOT / value).is_file(), value


@pytest.mark.parametrize("words", of_program("introbench"))
def test_a_command_of_the_documents_has_its_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        introbench_command([words[1], "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for option in [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z][\w-]*(=.*)?", word)]:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), option


@pytest.mark.parametrize("words", of_program("make"))
def test_a_make_target_of_the_documents_exists(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), words[1]


def test_the_first_page_needs_five_commands() -> None:
    block = code_blocks(ROOT / "docs/index.md", "bash")[0]
    assert len(block.strip().splitlines()) == 5


@pytest.mark.parametrize("page", ["index.md", "tasks.md"])
def test_the_questions_of_a_page_can_be_asked(page: str, tmp_path: Path) -> None:
    (text,) = code_blocks(ROOT / "docs" / page, "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    own = read_own_questions(path)
    assert {"gap", "usual"} <= {question.id for question in own.questions if question.family == "introspection"}


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=path.name) for path in DOCUMENTS for block in code_blocks(path, "python")]
)
def test_a_block_of_python_compiles(block: str) -> None:
    compile(block, "block", "exec")
