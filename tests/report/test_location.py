"""The location task in words: shares of right places against chance, and where the gain counts."""

import pytest
from old_trials import old_trials

from introbench.analysis.location import HEADLINE, LocationResult
from introbench.report import location
from introbench.stats.intervals import NOT_MEASURED, Interval

TOLD = "introspective, concept"


def result(part: str, name: str, accuracy: Interval, chance: float = 0.5, *, is_marked: bool = False) -> LocationResult:
    nats = accuracy if accuracy is NOT_MEASURED else Interval(0.1, 0.05, 0.15, 5)
    return LocationResult(part, name, chance, accuracy, nats, 8, 0, is_marked)


def conclusion(monkeypatch: pytest.MonkeyPatch, results: list[LocationResult]) -> list[str]:
    monkeypatch.setattr(location, "location_results", lambda *_: results)
    monkeypatch.setattr(location, "_shares", lambda *_: "")
    return list(location.report(old_trials("location", "located")).conclusion)


def test_the_parts_that_count_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        result("halves", HEADLINE, Interval(0.4, 0.3, 0.5, 5), is_marked=True),
        result("halves", TOLD, Interval(0.9, 0.8, 1.0, 5)),
        result("layers", HEADLINE, Interval(0.0, -0.1, 0.1, 5)),
        result("layers", TOLD, Interval(0.5, 0.4, 0.6, 5)),
    ]
    first, shares, gains, rest, _ = conclusion(monkeypatch, results)
    assert first == "Where a thought was is told beyond random vectors and other questions in: halves."
    assert shares.endswith(": halves 90% (chance 50%) and layers 50% (chance 50%).")
    assert "in points: halves +40 [+30, +50] and layers +0 [-10, +10] (95%" in gains
    assert rest == "It rests on 5 concepts and 16 trials of introspective questions."


def test_a_loss_is_no_gain_and_no_interval_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = LocationResult(
        "halves", HEADLINE, 0.5, Interval(-0.4, -0.5, -0.3, 5), Interval(-1, -2, -0.5, 5), 8, 0, True
    )
    bare = Interval(0.1, float("nan"), float("nan"), 1)
    results = [worse, result("halves", TOLD, bare), result("layers", HEADLINE, bare), result("layers", TOLD, bare)]
    first, _, gains, *_ = conclusion(monkeypatch, results)
    assert first.startswith("It is not shown that the model tells where a thought was")
    assert "and layers +10 (95%" in gains


def test_without_finite_numbers_there_is_no_conclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [result("halves", HEADLINE, NOT_MEASURED), result("halves", TOLD, NOT_MEASURED)]
    assert conclusion(monkeypatch, lost) == [
        "No conclusion: no part was answered with finite numbers. Lower the strength."
    ]


def test_the_first_table_has_every_part_beside_chance_other_questions_and_random_vectors() -> None:
    (table,) = location.report(old_trials("location", "located")).tables
    row = next(line for line in table.splitlines() if line.startswith("sentences"))
    assert row.split()[:7] == ["sentences", "20.0%", "23.0%", "24.0%", "20.0%", "-2.0%", "[-8.1%,"]
