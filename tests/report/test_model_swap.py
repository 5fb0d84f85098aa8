"""The model swap in words: whether introspection moves more than control questions, under the fine-tune's cache."""

import math

import pytest
from old_trials import old_trials

from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import MATCHED, Result
from introbench.report import model_swap
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
