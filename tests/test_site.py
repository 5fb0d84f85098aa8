"""The site of the documents: built strictly without a network, with tables from the docstrings."""

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
"""Proxies that nobody serves: whoever asks the network fails."""


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The hooks, which are no module of the package."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site_hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", sorted(path.stem for path in (ROOT / "evals").glob("*.py") if path.stem[0] != "_"))
def test_a_table_has_every_argument_of_its_task(hooks: ModuleType, task: str) -> None:
    import inspect

    from introbench.evals import __name__ as package

    function = getattr(importlib.import_module(f"{package}.{task}"), task)
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.+) \|$", hooks.parameter_table(task), flags=re.MULTILINE)
    parameters = inspect.signature(function).parameters
    named = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    assert [name for name, _, _ in rows] == named
    for name, default, _ in rows:
        expected = parameters[name].default
        shown = "" if expected is None else "empty" if expected == "" else f"`{expected}`"
        assert default == shown, name
    assert f"<!-- parameters: {task} -->" in (ROOT / "docs/tasks.md").read_text(encoding="utf-8")


def test_links_lead_to_pages_of_the_site(hooks: ModuleType) -> None:
    assert hooks.site_link("../CONTRIBUTING.md", "tasks.md") == "contributing.md"
    assert hooks.site_link("../README.md", "tasks.md") == "index.md"
    assert hooks.site_link("docs/glossary.md", "contributing.md") == "glossary.md"
    assert hooks.site_link("../evals/probe.py", "tasks.md") == "source/evals/probe.py.md"
    assert hooks.site_link("https://inspect.aisi.org.uk", "tasks.md") == "https://inspect.aisi.org.uk"
    with pytest.raises(Exception, match=r"docs/tasks\.md: link to \.\./evals/none\.py: expected"):
        hooks.site_link("../evals/none.py", "tasks.md")


def test_every_document_is_in_the_navigation(hooks: ModuleType) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = set(re.findall(r": (\S+\.md)$", text, flags=re.MULTILINE))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} | set(hooks.ELSEWHERE.values())


def test_pictures_of_the_gallery_are_small() -> None:
    pictures = list((ROOT / "docs/images/gallery").glob("*"))
    assert pictures
    assert sum(path.stat().st_size for path in pictures) < 1_000_000


def test_the_workflow_is_one() -> None:
    workflow = yaml.safe_load((ROOT / "docs/workflows/introspection.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    assert set(workflow["env"]) == set(
        re.findall(r"\$([A-Z]+)", " ".join(step.get("run", "") for step in job["steps"]))
    )


@pytest.fixture(scope="module")
def site(hooks: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **NO_NETWORK, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"?([^\"\s>]+)", text)
        loaded += re.findall(r"<link[^>]* href=\"?([^\"\s>]+)", text)
        for address in map(html.unescape, loaded):
            if page.name == "404.html" or address.startswith("data:"):
                continue
            parts = urlsplit(address)
            assert not parts.netloc, (page.name, address)
            assert (page.parent / unquote(parts.path)).exists(), (page.name, address)
    assert "@import" not in "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))


@pytest.mark.slow
def test_no_marker_is_left(site: Path) -> None:
    for page in site.glob("*.html"):
        assert "<!-- parameters" not in page.read_text(encoding="utf-8"), page.name
        assert "<!-- file" not in page.read_text(encoding="utf-8"), page.name
    tasks = (site / "tasks.html").read_text(encoding="utf-8")
    assert tasks.count("<th>argument</th>") >= 9
