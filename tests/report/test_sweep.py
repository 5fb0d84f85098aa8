"""The sweep in words: what the best cell shows when it is held out, which cells are marked, where controls break."""

import numpy as np
import pytest
from old_trials import old_trials

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sweep import HeldOut, MapCell
from introbench.report import sweep
from introbench.stats.intervals import Interval

TRIALS = old_trials("sweep", "swept")


def held(excess: Interval) -> HeldOut:
    return HeldOut("info", (), (0, 1), 0.5, excess, {})


def conclusion(monkeypatch: pytest.MonkeyPatch, excess: Interval) -> list[str]:
    monkeypatch.setattr(sweep, "held_out", lambda *_, **__: held(excess))
    return list(sweep.report(TRIALS).conclusion)


@pytest.mark.parametrize(
    ("excess", "phrase"),
    [
        (
            Interval(0.5, 0.2, 0.8, 9),
            "Introspection moves beyond control questions: held out, the best cell has an excess",
        ),
        (Interval(-0.5, -0.8, -0.2, 9), "Introspection moves the other way: held out, "),
        (
            Interval(0.5, -0.2, 1.2, 9),
            "It is not shown that introspection moves beyond control questions in any cell: ",
        ),
    ],
)
def test_the_held_out_cell_decides_what_is_said(monkeypatch: pytest.MonkeyPatch, excess: Interval, phrase: str) -> None:
    first, *_ = conclusion(monkeypatch, excess)
    assert first.startswith(phrase)
    assert f"{excess.estimate:+.3f} [{excess.low:+.3f}, {excess.high:+.3f}] nats (95% interval, document info)" in first


def test_marked_cells_and_broken_ranges_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    interval = Interval(0.3, 0.1, 0.5, 2)
    cells = {where: MapCell(interval, where == (1, 1)) for where in np.ndindex(3, 2)}
    monkeypatch.setattr(sweep, "map_cells", lambda *_: cells)
    _, _, marked, broken, *_ = sweep.report(TRIALS).conclusion
    assert marked.startswith(
        "Of 6 cells, the excess over control questions differs from 0 in 10:20 xresidual:0.1, all "
    )
    assert broken == "Control questions break in layers 0:10 from residual:0.05 on: there, shifts say little."
    assert "+0.300 *" in sweep.report(TRIALS).tables[0]


def test_one_concept_cannot_be_held_out() -> None:
    one: list[ScoredTrial] = [
        ({**m, "plan": {**m["plan"], "concepts": m["plan"]["concepts"][:1]}}, exact) for m, exact in TRIALS
    ]
    report = sweep.report(one)
    assert report.conclusion[0].startswith(
        "No cell could be chosen and held out under document info. Needs two concepts"
    )
    assert "It rests on 1 concept and 40 questions." in report.conclusion
    assert len(report.tables) == 1


def test_the_map_of_the_first_screen_has_layers_as_rows_and_strengths_as_columns() -> None:
    grid, held_table = sweep.report(TRIALS).tables
    assert [line.split() for line in grid.splitlines()[1:]] == [
        ["0:10", "+0.048", "+0.125"],
        ["10:20", "-0.052", "-0.110"],
        ["20:30", "-0.012", "-0.018"],
    ]
    assert held_table.splitlines()[1].startswith("excess ")
