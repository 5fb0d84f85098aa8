"""The plan of the code holds by itself: who may import whom, what loads without torch, how long a file may be."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("evals", "scorers", "solvers")
"""Folders at the root that are installed as packages of introbench."""

FLOOR = ("errors", "progress", "typed_values")
MAY_IMPORT = {
    "errors": (),
    "progress": ("errors",),
    "typed_values": ("errors",),
    "stats": (),
    "engine": FLOOR,
    "prompts": ("engine", *FLOOR),
    "records": ("prompts",),
    "models": ("prompts", "engine", *FLOOR),
    "analysis": ("records", "stats", "prompts", "errors"),
    "steering": ("models", "records", "prompts", "engine", *FLOOR),
    "checks": ("steering", "models", "prompts", "engine", *FLOOR),
    "tasks": ("steering", "models", "records", "prompts", *FLOOR),
    "provider": ("checks", "steering", "analysis", "models", "records", "prompts", "engine", *FLOOR),
    "report": ("analysis", "checks.record", "records", "stats", "prompts.schema", "errors"),
    "page": ("report", "analysis", "records", "stats", "prompts.schema", "models.disk_cache", "errors"),
    "solvers": ("provider", "report.markdown", "records", "prompts.answers"),
    "scorers": ("provider.outputs", "report.markdown", "analysis", "records", "stats", "errors"),
    "evals": (
        *("solvers", "scorers", "tasks", "provider", "steering", "models", "analysis", "records", "prompts"),
        *FLOOR,
    ),
    "frames": ("report", "analysis", "records", "stats", "errors"),
    "notebook": ("provider", "steering", "models", "analysis", "records", "prompts", "engine", *FLOOR),
    "validation": (
        "tasks",
        "provider",
        "steering",
        "analysis",
        "models",
        "records",
        "prompts",
        "engine",
        "stats",
        *FLOOR,
    ),
    "regression": ("report", "analysis", "records", "stats", "prompts.schema", "provider", "checks", *FLOOR),
}
"""For each package, the packages, or single modules of them, that it may import."""

READERS = ("analysis", "stats", "records")
"""Packages that read logs: they need neither torch nor Inspect."""


def imported(path: Path) -> Iterator[str]:
    """Names of the modules of introbench that a file imports, wherever in it, without `introbench.` in front."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "introbench":
            module = node.module.removeprefix("introbench").lstrip(".")
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("introbench."):
                    yield alias.name.removeprefix("introbench.")


def files_of(package: str) -> list[Path]:
    """The Python files of a package, or the one of a module."""
    folder = ROOT / package if package in MAPPED else ROOT / "introbench" / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def sources() -> list[Path]:
    """Every Python file that is installed."""
    return [path for folder in ("introbench", *MAPPED) for path in sorted((ROOT / folder).rglob("*.py"))]


def forbidden(package: str, path: Path) -> list[str]:
    """What a file of a package imports and may not."""
    allowed = (package, *MAY_IMPORT[package])
    return [
        name for name in imported(path) if not any(name == other or name.startswith(f"{other}.") for other in allowed)
    ]


def test_every_package_has_a_rule() -> None:
    packages = {
        path.name for path in (ROOT / "introbench").iterdir() if path.is_dir() and (path / "__init__.py").exists()
    }
    modules = {path.stem for path in (ROOT / "introbench").glob("*.py")} - {"__init__", "cli", "registry"}
    assert packages | modules | set(MAPPED) == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_stands_below_them(package: str) -> None:
    broken_rules = {
        str(path.relative_to(ROOT)): names for path in files_of(package) if (names := forbidden(package, path))
    }
    assert not broken_rules, f"{package} may import {', '.join(MAY_IMPORT[package]) or 'nothing of ours'}"


def test_the_rules_have_no_circle() -> None:
    def reached(package: str, seen: tuple[str, ...] = ()) -> None:
        assert package not in seen, " -> ".join((*seen, package))
        for other in MAY_IMPORT[package]:
            reached(other.partition(".")[0], (*seen, package))

    for package in MAY_IMPORT:
        reached(package)


def test_nothing_but_the_registry_imports_the_mapped_folders() -> None:
    for path in sources():
        if path.relative_to(ROOT).parts[0] in MAPPED or path == ROOT / "introbench" / "registry.py":
            continue
        names = [name for name in imported(path) if name.partition(".")[0] in MAPPED]
        assert not names, f"{path.relative_to(ROOT)} imports {', '.join(names)}"


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "introbench").rglob("__init__.py")}
    assert {*packages, "introbench.datasets", *(f"introbench.{folder}" for folder in MAPPED)} == set(listed)


def test_no_file_is_too_long_to_read() -> None:
    long = {str(path.relative_to(ROOT)): n for path in sources() if (n := len(path.read_text().splitlines())) > 350}
    assert not long


@pytest.mark.parametrize("experiment", [path.stem for path in files_of("evals") if path.stem != "__init__"])
def test_an_experiment_has_the_same_name_everywhere(experiment: str) -> None:
    for folder in ("evals", "scorers", "introbench/analysis", "introbench/report"):
        assert (ROOT / folder / f"{experiment}.py").is_file(), folder
    assert (ROOT / "tests" / "evals" / f"test_{experiment}.py").is_file()


@pytest.mark.parametrize("package", READERS)
def test_readers_import_neither_torch_nor_inspect(package: str) -> None:
    for path in files_of(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.partition(".")[0] for name in names}
            assert not tops & {"torch", "transformers", "inspect_ai"}, path.name


def test_reports_and_scorers_load_without_torch() -> None:
    modules = ["introbench.report.log", *(f"introbench.scorers.{path.stem}" for path in files_of("scorers"))]
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module.removesuffix('.__init__'))\n"
        "    assert not {'torch', 'transformers'} & sys.modules.keys(), module"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_private_names_of_other_libraries_stand_in_one_file_each() -> None:
    private = {"inspect_ai._": [], "_attn_implementation": []}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for name, places in private.items():
            if name in text:
                places.append(str(path.relative_to(ROOT)))
    assert private == {
        "inspect_ai._": ["introbench/provider/inspect_private.py"],
        "_attn_implementation": ["introbench/engine/attention.py"],
    }
