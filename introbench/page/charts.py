"""The kinds of charts that figures consist of, in Vega-Lite; colours tell apart what colour-blind readers see, too."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from introbench.page.figure import Row, Spec
from introbench.stats.intervals import Interval

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A8A8A"
"""Colours of Okabe and Ito's palette, which keep apart in the common forms of colour blindness, and a grey."""

_NAME_WIDTH = 30
"""Characters of a line in the name of a row."""

_ROW, _LINE = 30, 14
"""Height of a row whose name has one or two lines, and of every further line, in pixels."""

_LINES = {"labelExpr": "split(datum.label, '\\n')"}


def interval_row(name: str, interval: Interval, **more: Any) -> dict[str, Any]:
    """A row of a chart of intervals.

    Args:
        name: What the interval is of.
        interval: The interval.
        more: Further facts, which hovering shows.
    """
    return {
        "name": "\n".join(textwrap.wrap(name, _NAME_WIDTH)),
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "units": interval.units,
        **more,
    }


def tooltip(rows: Iterable[Row]) -> list[Spec]:
    """What hovering over a mark shows: everything that its row says."""
    names = {name: value for row in rows for name, value in row.items()}
    return [
        {"field": name, "type": "quantitative", "format": ".4g"}
        if isinstance(value, float)
        else {"field": name, "type": "nominal"}
        for name, value in names.items()
    ]


def intervals(rows: Sequence[Row], title: str, *, at: float = 0.0, form: str = "+.2~f", colour: str = BLUE) -> Spec:
    """Estimates with their intervals, one below the other.

    Args:
        rows: From `interval_row`.
        title: Of the axis, with its unit.
        at: Where nothing is found; a dashed line.
        form: Format of the axis.
        colour: Of the marks.
    """
    x = {"field": "estimate", "type": "quantitative", "title": title, "axis": {"format": form, "tickCount": 5}}
    further_lines = max((row["name"].count("\n") - 1 for row in rows), default=0)
    return {
        "height": (_ROW + _LINE * max(0, further_lines)) * len(rows),
        "encoding": {
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": [row["name"] for row in rows],
                "title": None,
                "axis": {**_LINES, "grid": True},
            }
        },
        "layer": [
            _dashed({"x": {"datum": at}, "y": {"value": 0}, "y2": {"value": "height"}}),
            *_where(
                ("low", "high"),
                rows,
                {
                    "mark": {"type": "rule", "strokeWidth": 2, "color": colour},
                    "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
                },
            ),
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": colour},
                "encoding": {"x": x, "tooltip": tooltip(rows)},
            },
        ],
    }


def points(rows: Sequence[Row], x: str, y: str, colours: Mapping[str, str], shapes: Mapping[str, str]) -> Spec:
    """Points of several groups over an axis, with the lines that rows without a group make.

    Args:
        rows: Of points `x`, `y` and `group`; of lines `x`, `line` and `of`.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        colours: The colour of each group, in the legend's order.
        shapes: The shape of each group.
    """
    across = {"field": "x", "type": "quantitative", "title": x, "scale": {"zero": False, "nice": True}}
    colour = {"domain": [*colours], "range": [*colours.values()]}
    shape = {"domain": [*shapes], "range": [*shapes.values()]}
    of_points = [row for row in rows if "group" in row]
    return {
        "height": 260,
        "encoding": {"x": across},
        "layer": [
            _dashed({"y": {"datum": 0}, "x": {"value": 0}, "x2": {"value": "width"}}),
            *_where(
                ("line",),
                rows,
                {
                    "mark": {"type": "line", "color": GREY, "strokeWidth": 2},
                    "encoding": {"y": {"field": "line", "type": "quantitative"}, "detail": {"field": "of"}},
                },
            ),
            *_where(
                ("y",),
                rows,
                {
                    "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.85},
                    "encoding": {
                        "y": {"field": "y", "type": "quantitative", "title": y},
                        "color": {"field": "group", "type": "nominal", "title": None, "scale": colour},
                        "shape": {"field": "group", "type": "nominal", "title": None, "scale": shape},
                        "tooltip": tooltip(of_points),
                    },
                },
            ),
        ],
    }


def lines(rows: Sequence[Row], x: str, y: str, colours: Mapping[str, str], *, at: float | None = None) -> Spec:
    """Curves over an axis, with a band where rows have one.

    Args:
        rows: `x`, `y` and `group`; `low` and `high` where a curve has a band.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        colours: The colour of each group, in the legend's order.
        at: Where nothing is found; None for no line.
    """
    scale = {"domain": [*colours], "range": [*colours.values()]}
    return {
        "height": 240,
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": x, "axis": {"tickMinStep": 1}},
            "color": {"field": "group", "type": "nominal", "title": None, "scale": scale},
        },
        "layer": [
            *([] if at is None else [_dashed({"y": {"datum": at}, "x": {"value": 0}, "x2": {"value": "width"}})]),
            *_where(
                ("low", "high"),
                rows,
                {
                    "mark": {"type": "area", "opacity": 0.18},
                    "encoding": {"y": {"field": "low", "type": "quantitative", "title": y}, "y2": {"field": "high"}},
                },
            ),
            {
                "mark": {"type": "line", "point": {"size": 25}, "strokeWidth": 2},
                "encoding": {
                    "y": {"field": "y", "type": "quantitative", "title": y, "scale": {"zero": False}},
                    "tooltip": tooltip(rows),
                },
            },
        ],
    }


def squares(rows: Sequence[Row], x: str, y: str, *, scale: Spec, legend: str, form: str) -> Spec:
    """A map of coloured squares with their numbers.

    Args:
        rows: `x`, `y`, `value` and `label`; in the order in which they stand.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        scale: Of the colours.
        legend: What the colours are, with their unit.
        form: Format of the legend.
    """
    places = {
        "x": {"field": "x", "type": "nominal", "sort": None, "title": x, "axis": {"labelAngle": -40}},
        "y": {"field": "y", "type": "nominal", "sort": None, "title": y},
    }
    reach = max(abs(end) for end in scale["domain"])
    return {
        "height": 24 * len({row["y"] for row in rows}),
        "encoding": places,
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "#8A8A8A", "strokeWidth": 0.3},
                "encoding": {
                    "color": {
                        "field": "value",
                        "type": "quantitative",
                        "scale": scale,
                        "legend": {"title": legend, "format": form, "gradientLength": 140},
                    },
                    "tooltip": tooltip(rows),
                },
            },
            {
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {
                    "text": {"field": "label", "type": "nominal"},
                    "color": {
                        "condition": {"test": f"abs(datum.value) > {0.55 * reach}", "value": "white"},
                        "value": "black",
                    },
                },
            },
        ],
    }


def _where(names: Sequence[str], rows: Sequence[Row], layer: Spec) -> list[Spec]:
    """A layer of the rows in which these numbers are known; none without any, for which no axis could be found."""
    if not any(all(math.isfinite(row.get(name, math.nan)) for name in names) for row in rows):
        return []
    return [{"transform": [{"filter": " && ".join(f"isValid(datum.{name})" for name in names)}], **layer}]


def _dashed(encoding: Spec) -> Spec:
    """A dashed line across a chart, with no data of its own."""
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [4, 3]},
        "encoding": {"color": {"value": GREY}, **encoding},
    }


def diverging(values: Iterable[float]) -> Spec:
    """A scale of colours around 0 that reaches as far as these numbers do."""
    reach = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    return {"scheme": "blueorange", "domain": [-reach, reach]}


SHARES: Spec = {"scheme": "blues", "domain": [0, 1]}
"""A scale of colours for shares of 1."""
