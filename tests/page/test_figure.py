"""A figure's numbers as CSV, its charts as JSON, and what is said without the package that draws."""

import importlib.util
import json
import math

import pytest

from introbench.errors import InputError
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


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"expected introbench\[report\]; run: python -m pip install vl-convert"):
        require_vega()
