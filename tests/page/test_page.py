"""The page of logs: what it says is what the logs say, and no text of a log is taken for markup."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from introbench.analysis.named_values import named_values
from introbench.page import page as pages
from introbench.page.models import by_dose
from introbench.page.page import page, write_figures
from introbench.page.section import FIGURES, read_sections, section_of
from introbench.page.table_text import table_text
from introbench.report.log import REPORTS, ReadLog, read_log

LOGS = sorted((Path(__file__).parents[1] / "old_logs").glob("*.eval"))
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _without_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "scripts", lambda: "")


def charts_of(text: str) -> dict[str, Any]:
    """The charts of a page by name, as a browser reads them."""
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])["charts"]


def test_every_task_has_figures() -> None:
    assert FIGURES.keys() == REPORTS.keys()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_every_interval_in_a_figure_is_a_number_of_the_run(path: Path) -> None:
    log = read_log(str(path))
    known = [value for value in named_values(log.scorer, log.trials).values() if math.isfinite(value)]
    section = section_of(log)
    assert section.figures
    for figure in section.figures:
        assert figure.panels
        for panel in figure.panels:
            assert panel.rows
            for row in panel.rows:
                shown = row.get("estimate", math.nan)
                assert math.isnan(shown) or any(value == pytest.approx(shown, abs=1e-12) for value in known), row


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_the_page_says_what_the_table_says_and_draws_every_panel(path: Path) -> None:
    log = read_log(str(path))
    text = page([section_of(log)])
    plain = text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert all(sentence in plain for sentence in log.report.conclusion)
    tables = [table_text(table) for table in (*log.report.tables, *log.report.further)]
    assert all(part in plain for above, table, below in tables for part in (*above, table, *below))
    section = section_of(log)
    names = [f"{section.anchor}-{figure.name}-{n}" for figure in section.figures for n in range(len(figure.panels))]
    assert list(charts_of(text)) == names
    assert all(f'id="{name}"' in text for name in names)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_the_names_of_figures_are_unique() -> None:
    for path in LOGS:
        names = [figure.name for figure in section_of(read_log(str(path))).figures]
        assert len(set(names)) == len(names)


def hostile(log: ReadLog) -> ReadLog:
    """The same log of a model, a concept and questions whose names are markup."""
    trials = [
        replace(
            trial,
            metadata={**trial.metadata, "concept": f"{HOSTILE} {trial.metadata['concept']}"},
            question=HOSTILE,
        )
        for trial in log.scored
    ]
    return replace(log, scored=trials, run=replace(log.run, model=HOSTILE, arguments={"concepts": [HOSTILE]}))


@pytest.mark.parametrize("task", ["introspection", "sweep", "top_of_mind"])
def test_markup_in_a_log_is_text(task: str) -> None:
    log = hostile(read_log(str(next(path for path in LOGS if path.stem == task))))
    text = page([section_of(log)])
    assert "<img" not in text
    assert text.count("</script>") == 3
    if task == "introspection":
        assert HOSTILE in json.dumps(charts_of(text))


def test_models_stand_side_by_side_the_largest_excess_first() -> None:
    log = read_log(str(next(path for path in LOGS if path.stem == "introspection")))
    more = [
        (metadata, exact | {"shift": exact["shift"] + (metadata["family"] == "introspection")} if exact else exact)
        for metadata, exact in log.trials
    ]

    class Shifted(ReadLog):
        trials = more  # type: ignore[assignment]

    shifted = Shifted(log.location, replace(log.run, model="inject/other"), log.scorer, log.scored)
    logs = [log, shifted]
    sections = [section_of(one, number) for number, one in enumerate(logs)]
    (group,) = by_dose(section.model for section in sections if section.model)
    assert [row.model for row in group.rows] == ["inject/other", log.run.model]
    assert group.rows[0].excess > group.rows[1].excess
    assert group.rows[0].anchor.startswith("2-")
    assert page(sections).count("inject/other") > 2


def test_logs_read_side_by_side_give_the_sections_of_logs_read_one_by_one() -> None:
    alone = [section_of(read_log(str(path)), number) for number, path in enumerate(LOGS[:3])]
    assert page(read_sections([str(path) for path in LOGS[:3]])) == page(alone)


def test_figures_are_written_as_pictures_and_numbers(tmp_path: Path) -> None:
    log = read_log(str(next(path for path in LOGS if path.stem == "calibrate")))
    written = write_figures([section_of(log)], tmp_path)
    (section,) = tmp_path.iterdir()
    assert sorted(written) == sorted(section.iterdir())
    assert {path.suffix for path in written} == {".png", ".svg", ".csv"}
    numbers = (section / "dose-response.csv").read_text()
    for panel in section_of(log).figures[0].panels:
        for row in panel.rows:
            assert str(row["y"]) in numbers
    assert (section / "dose-response.png").read_bytes().startswith(b"\x89PNG")
