"""A figure's numbers as CSV, its charts as JSON, and what is said without the package that draws."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

from introbench.errors import InputError
from introbench.page.charts import BLUE, ORANGE, lines
from introbench.page.figure import Figure, Panel, require_vega

ROWS = [{"name": "a, b", "estimate": 0.5, "low": math.nan}, {"name": "c", "estimate": -1.25, "more": "x"}]
FIGURE = Figure("name", "title", "caption", [Panel("first", {"mark": "point"}, ROWS), Panel("second", {}, ROWS[1:])])


def test_all_numbers_stand_in_the_csv() -> None:
    assert FIGURE.csv.splitlines() == [
        "panel,name,estimate,low,more",
        'first,"a, b",0.5,nan,',
        "first,c,-1.25,,x",
        "second,c,-1.25,,x",
    ]


def test_a_chart_is_json_without_numbers_that_are_not_finite() -> None:
    chart = FIGURE.panels[0].chart("container")
    assert json.loads(json.dumps(chart, allow_nan=False)) == {
        "data": {"values": [{"name": "a, b", "estimate": 0.5, "low": None}, ROWS[1]]},
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "mark": "point",
    }
    assert "autosize" not in FIGURE.panels[0].chart(300)


def test_panels_keep_their_own_colours_in_a_picture(tmp_path: Path) -> None:
    """Charts side by side share a scale unless they are told not to; then all lines had the first panel's colour."""
    panels = []
    for name, colour in (("dose", BLUE), ("live", ORANGE)):
        rows = [{"x": 1.0, "y": 0.0, "group": name}, {"x": 2.0, "y": 1.0, "group": name}]
        panels.append(Panel(name, lines(rows, "norm", "share", {name: colour}), rows))
    Figure("lines", "Lines", "", panels).write(tmp_path)
    svg = (tmp_path / "lines.svg").read_text(encoding="utf-8")
    assert f'stroke="{BLUE}"' in svg
    assert f'stroke="{ORANGE}"' in svg


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"expected introbench\[report\]; run: python -m pip install vl-convert"):
        require_vega()
