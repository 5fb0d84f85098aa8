"""The table of models: which runs are compared with which, and what is pasted elsewhere."""

import math

from introbench.page.models import ModelGroup, ModelRow, as_latex, as_markdown, by_dose


def row(model: str, dose: float, excess: float) -> ModelRow:
    return ModelRow(model, f"of-{model}", "no effect", excess, f"{excess:+.3f} [-1.000, +1.000]", dose, "9 of 9")


def names(groups: list[ModelGroup]) -> list[list[str]]:
    return [[row.model for row in group.rows] for group in groups]


def test_runs_at_one_dose_are_ordered_by_excess() -> None:
    groups = by_dose([row("low", 0.5, 0.1), row("high", 0.52, 0.3), row("unknown", 0.51, math.nan)])
    assert names(groups) == [["high", "low", "unknown"]]
    assert groups[0].title == "at a dose of about 0.5 nats"


def test_runs_at_doses_of_their_own_come_last() -> None:
    rows = [row("alone", 2.0, 0.9), row("a", 0.1, 0.2), row("b", 0.1, 0.3), row("not measured", math.nan, 1.0)]
    groups = by_dose(rows)
    assert names(groups) == [["b", "a"], ["not measured", "alone"]]
    assert groups[1].title == "at doses of their own"


def test_the_dose_that_most_models_share_comes_first() -> None:
    rows = [row("a", 0.1, 0), row("b", 0.1, 0), row("a", 0.5, 0), row("b", 0.5, 0), row("c", 0.5, 0)]
    assert [len(group.rows) for group in by_dose(rows)] == [3, 2]


def test_two_runs_of_one_model_compare_no_models() -> None:
    assert [group.title for group in by_dose([row("a", 0.1, 0), row("a", 0.1, 1)])] == ["at doses of their own"]


def test_the_table_is_pasted_as_it_is_shown() -> None:
    groups = by_dose([row("inject/a_b", 0.5, 0.25), row("x|y", 0.5, -0.25)])
    markdown = as_markdown(groups).splitlines()
    assert markdown[0].count("|") == 6
    assert "inject/a_b" in markdown[2]
    assert "x\\|y" in markdown[3]
    latex = as_latex(groups)
    assert "inject/a\\_b" in latex
    assert latex.startswith("\\begin{tabular}")
    assert "+0.250 [-1.000, +1.000]" in latex
