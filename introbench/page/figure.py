"""A figure: some panels in Vega-Lite, the numbers that they show, and what they mean."""

import csv
import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from introbench.errors import InputError

Row = Mapping[str, Any]
"""What one mark of a figure shows, by the name of each number."""

Spec = dict[str, Any]
"""A chart in Vega-Lite's terms, without its data, width and title."""

PICTURE_WIDTH = 360
"""Width of a panel's plot in a picture, in pixels; on the page it is as wide as there is room."""

ROOM = 40
"""Left of every panel in a picture, in pixels: an SVG may be shown in wider letters than it was drawn with."""


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Attributes:
        title: What tells it from the other panels.
        spec: The chart.
        rows: What it shows.
    """

    title: str
    spec: Spec
    rows: Sequence[Row]

    def chart(self, width: int | str) -> Spec:
        """The chart with its data.

        Args:
            width: Of the plot in pixels, or "container" for as much as there is, its axis and legend included.
        """
        fit = {"autosize": {"type": "fit-x", "contains": "padding"}} if width == "container" else {}
        return {"data": {"values": [_plain(row) for row in self.rows]}, "width": width, **fit, **self.spec}


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Attributes:
        name: Name of the figure's files, without ending.
        title: What it shows.
        caption: What its marks and units mean.
        panels: The panels.
        columns: How many panels stand side by side in a picture.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int = 2

    @property
    def csv(self) -> str:
        """All numbers of all panels; the first column is the panel's title."""
        rows = [{"panel": panel.title, **row} for panel in self.panels for row in panel.rows]
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write the figure as PNG and SVG, and its numbers as CSV.

        Raises:
            InputError: The package that draws pictures is missing.
        """
        vega = require_vega()
        chart = {
            "title": {"text": self.title, "anchor": "start"},
            "columns": self.columns,
            "concat": [{"title": panel.title, **panel.chart(PICTURE_WIDTH)} for panel in self.panels],
            "spacing": ROOM,
            "padding": {"left": ROOM, "top": 5, "right": 5, "bottom": 5},
            "resolve": {"scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"}},
            "config": CONFIG,
            "background": "white",
        }
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.name}.{ending}" for ending in ("png", "svg", "csv")]
        paths[0].write_bytes(vega.vegalite_to_png(chart, scale=2))
        paths[1].write_text(vega.vegalite_to_svg(chart), encoding="utf-8")
        paths[2].write_text(self.csv, encoding="utf-8")
        return paths


def require_vega() -> ModuleType:
    """The package that draws Vega-Lite charts, and holds the scripts that draw them in a browser.

    Raises:
        InputError: It is missing.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise InputError(
            "report: the package vl-convert-python is not installed; expected introbench[report]; "
            "run: python -m pip install vl-convert-python"
        )
    import vl_convert  # noqa: PLC0415 (an optional extra)

    return vl_convert


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it: without numbers that are not finite."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


CONFIG: Spec = {
    "font": "system-ui, sans-serif",
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 0,
        "titleLimit": 0,
        "labelFlush": False,
        "labelSeparation": 4,
    },
    "legend": {
        "labelFontSize": 11,
        "titleFontSize": 11,
        "orient": "bottom",
        "columns": 2,
        "labelLimit": 0,
        "symbolOpacity": 1,
    },
    "title": {"fontSize": 12, "anchor": "start"},
    "view": {"stroke": None},
    "background": None,
}
"""How all charts look, on the page and in pictures."""
