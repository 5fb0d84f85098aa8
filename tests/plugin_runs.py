"""What tests of the pytest plugin share: small batteries, and readers of what pytest printed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

SMALL = [
    *("-T", "concepts=cats,bread,trees", "-T", "documents=info", "-T", "layers=1:3", "-T", "strength=3"),
    *("-T", "families=introspection,always_no,always_yes,ambiguous", "-T", "random_vectors=1"),
]
"""Arguments of a battery that a tiny model answers in seconds."""
OWN = """
    SMALL = dict(concepts=["cats", "bread"], documents="info", formats="yes-no", layers="1:3", strength=3,
                 families=["introspection", "always_no"], random_vectors=1)

    def test_introspection_holds(evaluate, baseline):
        result = evaluate("introbench/introspection", limit=None, **SMALL)
        assert result.contrast("introspection", "always_no").low > -5
        baseline.check(result, metric="shift", budget=0.5)

    def test_again(evaluate, introbench_model, request):
        assert request.node.get_closest_marker("xdist_group").args == (f"introbench {introbench_model}",)
        result = evaluate("introbench/introspection", **SMALL)
        assert result.mean("introspection").units == 2
        assert result.noticed.units == 2
        assert result.verdict
"""

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
