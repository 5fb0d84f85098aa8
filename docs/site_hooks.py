"""What the site needs beside the pages in docs/: other documents, source files that are linked, tables from docstrings.

MkDocs calls the functions by their names (see `mkdocs.yml`). Documents link as they do on a forge, by paths in the
repository; here these links are turned into links between pages. A source file that is linked gets a page of its own,
so that the site needs no other server.
"""

import posixpath
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "speed.md",
}
"""Documents outside of docs/ that are pages of the site."""

QUOTES = "'\""
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
PARAMETERS = re.compile(r"^<!-- parameters: (\w+) -->$", re.MULTILINE)
SHOWN_FILE = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the documents outside of docs/, and a page for each source file that a document links."""
    for path, uri in ELSEWHERE.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    for path in sorted(linked_sources()):
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, source_uri(path), content=source_page(path, text)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn a document's links into the site's, and put in tables of parameters and files where it asks for them."""
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    markdown = PARAMETERS.sub(lambda found: parameter_table(found[1]), markdown)
    markdown = SHOWN_FILE.sub(lambda found: fenced(found[1], (ROOT / found[1]).read_text(encoding="utf-8")), markdown)
    return LINK.sub(lambda found: f"]({site_link(found[1], uri)}{found[2] or ''})", markdown)


def repository_path(uri: str) -> str:
    """Where the document behind a page is in the repository."""
    return next((path for path, page in ELSEWHERE.items() if page == uri), f"docs/{uri}")


def site_link(target: str, uri: str) -> str:
    """What a link of the page `uri` to `target`, a path as on the forge, is on the site."""
    if "://" in target:
        return target
    path = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(uri)), target))
    if path == "README.md":
        path = "docs/index.md"
    if path in ELSEWHERE:
        place = ELSEWHERE[path]
    elif path.startswith("docs/") and not path.endswith(".py"):
        place = path.removeprefix("docs/")
    elif (ROOT / path).is_file():
        place = source_uri(path)
    else:
        raise PluginError(f"{repository_path(uri)}: link to {target}: expected a page or a file of the repository")
    return posixpath.relpath(place, posixpath.dirname(uri) or ".")


def linked_sources() -> set[str]:
    """Paths of the source files that documents link."""
    found = set()
    for path in [*ELSEWHERE, *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]:
        for target, _ in LINK.findall((ROOT / path).read_text(encoding="utf-8")):
            linked = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            outside = not linked.startswith("docs/") or linked.endswith(".py")
            if "://" not in target and outside and linked not in {*ELSEWHERE, "README.md"}:
                found.add(linked)
    return {path for path in found if (ROOT / path).is_file()}


def source_uri(path: str) -> str:
    """The page of a source file."""
    return f"source/{path}.md"


def source_page(path: str, text: str) -> str:
    """A page that shows a source file, and that the search leaves out."""
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{fenced(path, text)}\n"


def fenced(path: str, text: str) -> str:
    """A file's text as a block of code."""
    language = {".py": "python", ".yaml": "yaml", ".yml": "yaml"}.get(Path(path).suffix, "text")
    return f"````{language}\n{text.rstrip()}\n````"


@cache
def parameter_table(task: str) -> str:
    """The table of a task's arguments, from the docstring and the signature of the function in `evals/`."""
    module = griffe.load(f"evals.{task}", search_paths=[ROOT])
    function = module[task]
    (described,) = [part for part in function.docstring.parse("google") if part.kind.value == "parameters"]
    rows = [
        f"| `{argument.name}` | {shown_default(module, str(function.parameters[argument.name].default))} | "
        + " ".join(argument.description.split()).replace("|", "\\|")
        + " |"
        for argument in described.value
    ]
    return "\n".join(["| argument | default | what it is |", "| --- | --- | --- |", *rows])


def shown_default(module: griffe.Module, source: str) -> str:
    """A default as a person would write it: nothing for None, which the description explains."""
    if source.isidentifier() and source.isupper():
        place, _, constant = module[source].target_path.rpartition(".")
        source = str(getattr(import_module(place), constant))
    return {"None": "", '""': "empty", "''": "empty"}.get(source, f"`{source.strip(QUOTES)}`")
