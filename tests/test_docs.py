"""The documents name files that exist, and the plan of packages that the code has."""

import re
from pathlib import Path

import pytest
from test_architecture import FLOOR, MAPPED, MAY_IMPORT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
SOURCES = ("introbench", *MAPPED, "tests", "bench", "docs")
PACKAGES = {name for name in MAY_IMPORT if name not in FLOOR}


def named_files(text: str) -> set[str]:
    """Every Python or YAML file that a text names; `NAME` stands for any experiment."""
    paths = set(re.findall(r"(?<![\w./-])(?:\.\./)*((?:[\w-]+/)*[\w-]+\.(?:py|yaml))(?![\w/])", text))
    return {path for path in paths if "NAME" not in path}


def exists(path: str) -> bool:
    """Whether there is such a file: a path from the root, `introbench/` or `docs/`, or a bare name in any package."""
    if any((folder / path).is_file() for folder in (ROOT, ROOT / "introbench", ROOT / "docs")):
        return True
    return "/" not in path and any(True for folder in SOURCES for _ in (ROOT / folder).rglob(path))


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may end with."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def architecture() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert not [path for path in sorted(named_files(page.read_text(encoding="utf-8"))) if not exists(path)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_picture_and_the_table_show_every_package() -> None:
    picture, _, after = architecture().partition("```text")[2].partition("```")
    assert set(re.findall(r"(?<!`)\b(\w+)/", picture)) == PACKAGES
    table = after.partition("## Import rules")[0]
    assert set(re.findall(r"^\| `(?:introbench/)?(\w+)/` \|", table, flags=re.MULTILINE)) == PACKAGES


def test_the_table_of_imports_says_what_the_rules_say() -> None:
    rules = architecture().partition("## Import rules")[2].partition("\n## ")[0]
    table = {
        package: {
            name for name in re.findall(r"[a-z_]+(?:/[a-z_]+\.py)?", may_import) if name.partition("/")[0] in PACKAGES
        }
        for package, may_import in re.findall(r"^\| `(\w+)/` \| (.+) \|$", rules, flags=re.MULTILINE)
    }
    assert table == {
        package: {
            name.replace(".", "/") + ".py" if "." in name else name for name in MAY_IMPORT[package] if name not in FLOOR
        }
        for package in PACKAGES
    }
