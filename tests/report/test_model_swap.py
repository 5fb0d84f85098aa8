"""The model swap in words: whether introspection moves more than control questions, under the fine-tune's cache."""

import math

import pytest
from lens_trials import lens_trials
from old_trials import old_trials

from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import MATCHED, Result
from introbench.report import model_swap
from introbench.report.report import WIDTH
from introbench.stats.intervals import NOT_MEASURED, Interval

TRIALS = old_trials("model_swap", "arm_shifts")


def conclusion(monkeypatch: pytest.MonkeyPatch, *intervals: Interval) -> list[str]:
    results = [
        Result(f"{arm}: {MATCHED}", "info", interval, 6, 0)
        for arm, interval in zip(("finetune", "random"), intervals, strict=False)
    ]
    monkeypatch.setattr(SwapRun, "headlines", lambda _: results)
    return list(model_swap.report(TRIALS).conclusion)


@pytest.mark.parametrize(
    ("interval", "phrase"),
    [
        (Interval(0.5, 0.2, 0.8, 6), "The answers say more than without the swap that something was noticed"),
        (Interval(-0.5, -0.8, -0.2, 6), "The answers say less than without the swap that something was noticed"),
        (Interval(0.5, -0.2, 1.2, 6), "It is not shown that the swap is noticed"),
        (Interval(0.5, math.nan, math.nan, 1), "Whether the swap is noticed is not known"),
    ],
)
def test_what_the_interval_shows_is_said(monkeypatch: pytest.MonkeyPatch, interval: Interval, phrase: str) -> None:
    first, others, rest, _ = conclusion(monkeypatch, interval, Interval(0.1, 0.0, 0.2, 6))
    assert first.startswith(phrase)
    assert f"introspection moves by {interval.estimate:+.3f} " in first
    assert "nats more than matched controls" in first
    assert others == "The same contrast of the other arms, in nats: random: +0.100."
    assert rest.startswith(f"It rests on {interval.units} question")
    assert not any("nan" in sentence for sentence in (first, others, rest))


def test_without_control_questions_there_is_no_conclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conclusion(monkeypatch)[0].startswith("No conclusion: ")
    assert conclusion(monkeypatch, NOT_MEASURED)[0].startswith("No conclusion: ")


def test_the_headline_is_the_fine_tunes_own_arm_first() -> None:
    probabilities, contrasts = model_swap.report(TRIALS).tables
    assert "yes 42.518% -> 45.904% (+3.386%)" in probabilities
    assert contrasts.splitlines()[1].startswith("finetune: introspection - matched controls")


def test_what_the_lens_reads_is_said_and_shown_by_arm_and_document() -> None:
    report = model_swap.report(lens_trials())
    (said,) = [sentence for sentence in report.conclusion if sentence.startswith("By the logit lens")]
    assert said.startswith("By the logit lens, the gap of arm finetune under document info is largest after layer 1, ")
    assert "+3.000 [" in said
    assert "in the answer it is +1.000 [" in said
    peaks = report.tables[-1].splitlines()
    arms = ["finetune", "contrast +", "finetune, contrast -", "random"]
    assert [line.split("  ")[0] for line in peaks] == ["logit lens", *arms]
    assert all(len(line) <= WIDTH for table in report.tables for line in table.splitlines())
    everywhere = report.further[report.further.index("By the logit lens: where gaps peak") + 1].splitlines()
    assert len(everywhere) == 1 + 2 * len(arms)
    assert peaks[1].split()[-2:] == ["+1.000", "+2.000"]
    by_layer = report.further[report.further.index("Document none, layer by layer") + 1].splitlines()
    assert by_layer[0].split()[:3] == ["layer", "P(yes)", "sham"]
    assert by_layer[3].split()[:4] == ["1", "20.000%", "40.000%", "+3.000"]
    assert len(by_layer) == 2 + 3


def test_where_the_lens_was_not_read_nothing_is_said_of_it() -> None:
    report = model_swap.report(TRIALS)
    assert not any("lens" in text for text in (*report.conclusion, *report.tables, *report.further))


def test_a_lens_without_finite_numbers_is_no_sentence() -> None:
    report = model_swap.report([(factors, {}) for factors, _ in lens_trials()])
    assert not any("lens" in sentence for sentence in report.conclusion)
    assert not any("nan" in table for table in report.tables)
