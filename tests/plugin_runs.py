"""What tests of the pytest plugin share: small batteries, and readers of what pytest printed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from xml.etree import ElementTree

import pytest
from shown_commands import ROOT, code_blocks

SMALL = [
    *("-T", "concepts=cats,bread,trees", "-T", "documents=info", "-T", "layers=1:3", "-T", "strength=3"),
    *("-T", "families=introspection,always_no,always_yes,ambiguous", "-T", "random_vectors=1"),
]
"""Arguments of a battery that a tiny model answers in seconds."""
(_SHOWN,) = code_blocks(ROOT / "docs/regression.md", "python")
OWN = f"""
    SMALL = dict(concepts=["cats", "bread"], documents="info", formats="yes-no", layers="1:3", strength=3,
                 families=["introspection", "always_no"], random_vectors=1)

{indent(_SHOWN.replace("limit=None", "limit=None, **SMALL").replace("> -0.5", "> -5"), "    ")}
    def test_again(evaluate, introbench_model, request):
        assert request.node.get_closest_marker("xdist_group").args == ("introbench " + introbench_model,)
        result = evaluate("introbench/introspection", **SMALL)
        assert result.mean("introspection").units == 2
        assert result.noticed.units == 2
        assert result.verdict
"""
"""The test that the documents show, on a small battery, and one more."""

Run = Callable[..., pytest.RunResult]


def change_shifts(path: Path, by: float, family: str = "introspection") -> None:
    """Make a baseline of a model whose shifts are others by about so much."""
    baseline = json.loads(path.read_text())
    for evaluation in baseline["evaluations"]:
        for question, concepts in evaluation["trials"].items():
            if evaluation["questions"][question]["family"] == family:
                for number, values in enumerate(concepts.values()):
                    values["shift"] -= by * (1 + 0.01 * number)
    path.write_text(json.dumps(baseline))


def printed_table(result: pytest.RunResult) -> list[str]:
    """The table at the end; with -qq of what changed alone."""
    (begin,) = [at for at, line in enumerate(result.outlines) if re.fullmatch("=+ introbench =+", line)]
    return result.outlines[begin:]


def junit_elements(path: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).iter(tag))
