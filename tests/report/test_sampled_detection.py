"""What the table of sampled answers says about models of known kinds, alone and beside their log-odds."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sampled_answers import (
    Answers,
    claimer_of_anything,
    detector,
    silent,
    silent_namer,
    trials,
    yes_sayer,
)

from introbench.analysis.introspection import IntrospectionRun
from introbench.page.sampled_detection import figures
from introbench.records.sampled_factors import ONWARDS, PRIOR
from introbench.report.beside import beside_log_odds
from introbench.report.report import WIDTH
from introbench.report.sampled_detection import number, percent, points, report
from introbench.stats.intervals import NOT_MEASURED, Interval


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (detector, "it detects injections"),
        (yes_sayer, "its hits mean nothing"),
        (silent_namer, "it names the concept, and claims nothing"),
        (claimer_of_anything, "as much under random vectors of the same norm"),
        (silent, "no more claims under the concept's vector than without one"),
    ],
)
def test_the_conclusion_says_what_kind_of_model_it_is(answers: Answers, said: str) -> None:
    first, second, *_ = report(trials(answers)).conclusion
    assert said in first
    assert "false alarms" in second, "a hit rate never stands alone"


def test_the_first_screen_is_narrow_and_has_a_column_for_each_protocol() -> None:
    both = report([*trials(detector, protocol=PRIOR), *trials(yes_sayer, protocol=ONWARDS)])
    shown = "\n\n".join(both.paragraphs())
    assert all(len(line) <= WIDTH for line in shown.splitlines())
    headers, *rows = both.tables[0].splitlines()
    assert headers.split() == ["prior", "onwards"]
    assert any(row.startswith("false alarms (sham)") for row in rows)
    assert len(both.paragraphs(full=True)) > len(both.paragraphs())


def test_answers_without_a_grade_are_told_with_their_reasons() -> None:
    scored = trials(detector)
    for _, exact in scored[:3]:
        exact["without_grade"] = {"no yes or no": 2}
    assert "Without a grade: 6 (no yes or no)." in report(scored).conclusion[-2]


def test_a_run_of_which_nothing_was_graded_says_so() -> None:
    assert report([(metadata, {}) for metadata, _ in trials(silent)]).conclusion == [
        "Nothing was graded: the model wrote nothing."
    ]


def test_forced_answers_are_summed_up_by_their_names() -> None:
    line, *_ = report(trials(yes_sayer, begins="Yes, I detect it:")).conclusion
    assert "of answers that begin with a claim" in line
    assert "hits" not in line.casefold()


def log_odds(low: float, high: float) -> IntrospectionRun:
    """A run whose headline is an interval."""
    headline = SimpleNamespace(fit=SimpleNamespace(excess=Interval((low + high) / 2, low, high, 9)))
    return cast(
        IntrospectionRun, SimpleNamespace(headline=headline, plan=SimpleNamespace(ordered_documents=["info", "none"]))
    )


@pytest.mark.parametrize(
    ("answers", "interval", "said"),
    [
        (detector, (0.4, 0.8), "Both say that injections are noticed"),
        (detector, (-0.4, 0.3), "the answers show more"),
        (detector, (-0.4, -0.3), "and is below 0; the answers show more"),
        (silent, (0.4, 0.8), "the log-odds show more"),
        (yes_sayer, (0.4, 0.8), "the log-odds show more"),
        (silent, (-0.4, 0.3), "Neither shows"),
    ],
)
def test_log_odds_beside_the_answers_say_in_which_direction_they_disagree(
    answers: Answers, interval: tuple[float, float], said: str
) -> None:
    (line,) = beside_log_odds(trials(answers), [("other.eval", log_odds(*interval))])
    assert said in line
    assert f"[{interval[0]:+.2f}, {interval[1]:+.2f}] nats" in line
    assert "other.eval, document info" in line


def test_logs_without_a_headline_and_forced_answers_have_nothing_beside_them() -> None:
    nothing = cast(IntrospectionRun, SimpleNamespace(headline=None))
    assert beside_log_odds(trials(detector), [("other.eval", nothing)]) == []
    assert beside_log_odds(trials(detector, begins="Yes:"), [("other.eval", log_odds(0, 1))]) == []
    assert beside_log_odds([], [("other.eval", log_odds(0, 1))]) == []


def test_numbers_without_ends_or_measurement() -> None:
    alone: Any = replace(NOT_MEASURED, estimate=0.25)
    assert (percent(alone), points(alone), number(alone)) == ("25%", "+25", "+0.25")
    assert {percent(NOT_MEASURED), points(NOT_MEASURED), number(NOT_MEASURED)} == {"not measured"}
    assert points(Interval(0.5, 0.25, 0.75, 9)) == "+50 [+25, +75]"


def test_figures_have_a_panel_for_each_protocol() -> None:
    both = [*trials(detector, protocol=PRIOR), *trials(silent, protocol=ONWARDS)]
    answers, cells = figures(both, {})
    assert [panel.title for panel in answers.panels] == ["prior: layer 2 x2", "onwards: layer 1 x2"]
    assert [row["estimate"] for row in cells.panels[1].rows] == [0.0, 0.0]
