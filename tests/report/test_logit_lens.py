"""The logit lens in words: where the gap peaks, what is left of it in the answer, and what random vectors do."""

import pytest
from old_trials import old_trials

from introbench.analysis.logit_lens import Peak
from introbench.report import logit_lens
from introbench.stats.intervals import Interval

TRIALS = old_trials("logit_lens", "lens_gap")


def conclusion(monkeypatch: pytest.MonkeyPatch, gap: Interval, lost: Interval, missing: int = 0) -> list[str]:
    top = Peak("info", Interval(17, 15, 20, 3), gap, Interval(0.1, -0.1, 0.3, 3), lost, missing)
    monkeypatch.setattr(logit_lens, "peak", lambda *_: top)
    return list(logit_lens.report(TRIALS).conclusion)


def test_a_gap_that_is_taken_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, answer, random, rest, _ = conclusion(monkeypatch, Interval(1, 0.5, 1.5, 3), Interval(0.9, 0.2, 1.6, 3), 2)
    assert first == (
        "The readout moves toward 'noticed': under document info the gap is largest after layer 17, with +1.000 "
        "[+0.500, +1.500] nats."
    )
    assert answer.endswith("lost in between: +0.900 [+0.200, +1.600], so that the last layers take a part of it away.")
    assert random.startswith("Random vectors, in that layer: ")
    assert rest.endswith("the largest gap was picked; 2 trials could not be used.")


def test_a_gap_that_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    first, answer, *_ = conclusion(monkeypatch, Interval(1, -0.5, 2.5, 3), Interval(0.9, -0.2, 2, 3))
    assert first.startswith("No gap toward 'noticed' is shown: ")
    assert answer.endswith("so that no loss on the way is shown.")


def test_without_finite_numbers_there_is_no_gap() -> None:
    lost = [(factors, {}) for factors, _ in TRIALS]
    report = logit_lens.report(lost)
    assert report.conclusion[0].startswith("No gap was measured")
    assert "nan" not in report.tables[0]


def test_the_answer_is_in_the_published_form_with_the_reference_document_first() -> None:
    probabilities, peaks = logit_lens.report(TRIALS).tables
    assert probabilities.splitlines()[1].startswith("info ")
    assert probabilities.splitlines()[1].endswith("yes 42.518% -> 34.797% (-7.721%)")
    assert [line.split()[0] for line in peaks.splitlines()[1:]] == ["info", "none", "inaccurate", "lorem", "neutral"]
