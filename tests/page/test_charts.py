"""Kinds of charts: where rows stand, what hovering shows, and scales of colours."""

import math

from introbench.page.charts import diverging, interval_row, intervals, squares, tooltip
from introbench.stats.intervals import Interval


def test_rows_of_intervals_keep_their_order_and_long_names_are_broken() -> None:
    rows = [
        interval_row("introspection minus the control questions of one family", Interval(0.5, 0.25, 0.75, 9), dose=0.1),
        interval_row("b", Interval(-0.5, math.nan, math.nan, 1)),
    ]
    assert rows[0]["name"] == "introspection minus the\ncontrol questions of one\nfamily"
    chart = intervals(rows, "nats")
    assert chart["encoding"]["y"]["sort"] == [row["name"] for row in rows]
    assert chart["height"] == 2 * 44, "room for three lines"
    assert intervals(rows[1:], "nats")["height"] == 30


def test_hovering_shows_everything_that_rows_say() -> None:
    assert tooltip([{"a": 0.5}, {"a": 0.25, "text": "t", "n": 3}]) == [
        {"field": "a", "type": "quantitative", "format": ".4g"},
        {"field": "text", "type": "nominal"},
        {"field": "n", "type": "nominal"},
    ]


def test_a_scale_reaches_as_far_to_both_sides() -> None:
    assert diverging([0.5, -2.0, math.nan])["domain"] == [-2.0, 2.0]
    assert diverging([])["domain"] == [-1.0, 1.0]
    assert diverging([0.0])["domain"] == [-1.0, 1.0]


def test_a_map_is_as_high_as_it_has_rows() -> None:
    rows = [{"x": x, "y": y, "value": 0.0, "label": ""} for x in "ab" for y in "cde"]
    assert squares(rows, "x", "y", scale=diverging([]), legend="nats", form=".1f")["height"] == 72
