"""Maps of a sweep as a picture: layer ranges by strengths, for introspection, every control family and the excess."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from introbench.analysis.sweep import EXCESS, SweepTrial, map_cells, map_names
from introbench.errors import InputError

UNMARKED_OPACITY = 0.3
"""How opaque the colour is of a cell that may be what chance gives."""


def draw_sweep(grouped: Mapping[str, Sequence[SweepTrial]], plan: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw a sweep's maps: one row of panels per document and strength, one column per family.

    A panel has the first steered layer upwards and the end of the range to the right; a list of ranges that is no
    triangle is drawn the same way. Colours have one scale for all panels of a strength, in nats. Cells that differ from
    0 with all cells of their map taken together have full colours and a star; the others are pale.

    Args:
        grouped: The sweep's trials by document.
        plan: What the run set out to do: `axes`, `concepts`, `seed`.
        title: Above all panels.
        path: PNG, PDF or SVG file to write.

    Raises:
        InputError: Matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("plot: the package matplotlib is not installed; run: python -m pip install matplotlib")
    from matplotlib.figure import Figure  # noqa: PLC0415 (an optional extra)

    axes, of_concepts = plan["axes"], range(len(plan["concepts"]))
    ranges = [tuple(map(int, layers.split(":"))) for layers in axes["layers"]]
    starts, stops = sorted({start for start, _ in ranges}), sorted({stop for _, stop in ranges})
    by_document = {
        document: {name: map_cells(name, trials, of_concepts, plan["seed"]) for name in map_names(trials)}
        for document, trials in grouped.items()
    }
    names = list(dict.fromkeys(name for of_name in by_document.values() for name in of_name))
    lines = [(document, column) for document in by_document for column in range(len(axes["strength"]))]
    figure = Figure(figsize=(2.5 * len(names) + 1, 2.2 * len(lines) + 0.8), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(len(lines), len(names), squeeze=False)
    for line, (document, column) in enumerate(lines):
        cells = {
            name: [by_document[document][name][row, column] for row in range(len(ranges))]
            for name in names
            if name in by_document[document]
        }
        means = np.array([cell.interval.estimate for of_name in cells.values() for cell in of_name])
        finite = means[np.isfinite(means)]
        reach = float(np.abs(finite).max()) if finite.size else 1.0
        digits = 1 if reach >= 1 else 2
        for panel, name in zip(panels[line], names, strict=True):
            grid = np.full((len(starts), len(stops)), np.nan)
            marked = np.zeros(grid.shape, dtype=bool)
            for (start, stop), map_cell in zip(ranges, cells.get(name, []), strict=False):
                place = starts.index(start), stops.index(stop)
                grid[place], marked[place] = map_cell.interval.estimate, map_cell.is_marked
            opacity = np.where(marked, 1.0, UNMARKED_OPACITY)
            image = panel.imshow(
                grid, origin="lower", cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", alpha=opacity
            )
            panel.set_xticks(range(len(stops)), stops, fontsize=7)
            panel.set_yticks(range(len(starts)), starts, fontsize=7)
            for (row, at), value in np.ndenumerate(grid):
                if np.isfinite(value) and grid.size <= 64:
                    dark = marked[row, at] and abs(value) > 0.6 * reach
                    text, colour = f"{value:+.{digits}f}{'*' if marked[row, at] else ''}", "w" if dark else "k"
                    panel.text(at, row, text, ha="center", va="center", fontsize=6, color=colour)
            if line == 0:
                panel.set_title("excess (noticed)" if name == EXCESS else name.replace("_", " "), fontsize=9)
            if line == len(lines) - 1:
                panel.set_xlabel("range ends before layer", fontsize=8)
        panels[line][0].set_ylabel(f"{document}, x{axes['strength'][column]}\nfirst layer", fontsize=8)
        figure.colorbar(image, ax=panels[line].tolist(), label="nats", shrink=0.9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
