"""The figures of a model swap: every arm's gap by layer, from trials that are written by hand."""

import pytest
from lens_trials import GAPS, lens_trials

from introbench.page.model_swap import figures


def test_every_arm_has_a_curve_and_the_fine_tunes_has_a_band() -> None:
    by_name = {figure.name: figure for figure in figures(lens_trials(), {})}
    gaps = by_name["lens-gaps"]
    assert [panel.title for panel in gaps.panels] == ["document info", "document none"]
    for panel in gaps.panels:
        for arm, values in GAPS.items():
            rows = [row for row in panel.rows if row["group"] == arm]
            assert [row["x"] for row in rows] == [0, 1, 2]
            assert [row["y"] for row in rows] == pytest.approx(values)
            assert all(("low" in row) == (arm == "finetune") for row in rows)
        assert all(row["low"] <= row["y"] <= row["high"] for row in panel.rows if "low" in row)
    curves = by_name["lens-curves"].panels[0].rows
    assert [row["y"] for row in curves if row["group"] == "finetune"] == pytest.approx([0.1, 0.4, 0.3])
    assert list(dict.fromkeys(row["group"] for row in curves)) == ["sham", *GAPS]


def test_without_a_lens_its_figures_have_no_panels() -> None:
    without = [(factors | {"answers": {}}, exact) for factors, exact in lens_trials()]
    assert [figure.name for figure in figures(without, {}) if figure.panels] == ["contrasts", "shifts"]
