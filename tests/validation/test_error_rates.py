"""Error rates and power of the instrument, counted from the outcomes of planted models."""

from pathlib import Path

import pytest

from introbench.validation.error_rates import (
    confusion_matrix,
    error_rates,
    found_in_most,
    power_curve,
    rate,
    replace_tables,
    report,
)
from introbench.validation.runs import SCALED, Case, Outcome


def outcome(name: str, verdict: str, effect: float | None = None, seed: int = 0) -> Outcome:
    return Outcome(Case(name, seed, effect), verdict, 0.3, 0.2, 0.4)


def test_a_rate_has_its_exact_interval() -> None:
    assert rate(0, 10) == "0/10 = 0.0% [0.0%, 30.8%]"
    assert rate(5, 10) == "5/10 = 50.0% [18.7%, 81.3%]"
    assert rate(0, 0) == ""


def test_the_report_names_both_rates_and_the_smallest_effect() -> None:
    outcomes = [outcome("deaf", "no effect"), outcome(SCALED, "tracks the concept")]
    text = report(outcomes)
    assert "- A model without introspection is said to have it: 0/1 = 0.0%" in text
    assert "- The introspector is found: 1/1 = 100.0%" in text
    assert "The smallest of these effects that is found in 80% of runs: 1.5 nats." in text


def test_error_rates_count_claims_by_truth():
    outcomes = [
        *(outcome("deaf", "no effect", seed=seed) for seed in range(3)),
        outcome("yes-bias", "tracks the concept"),
        outcome(SCALED, "tracks the concept"),
        outcome(SCALED, "inconclusive", seed=1),
        outcome(SCALED, "inconclusive", effect=0.1),  # of the power curve, not of the matrix
    ]
    assert error_rates(outcomes) == {"false": (1, 4), "found": (1, 2)}
    table = confusion_matrix(outcomes)
    assert "3/3 = 100.0%" in table
    assert "1/2 = 50.0%" in table


def test_the_power_curve_finds_where_most_are_found():
    outcomes = [
        outcome(SCALED, "tracks the concept" if seed < found else "inconclusive", effect, seed)
        for effect, found in ((0.1, 3), (0.2, 8), (0.4, 10))
        for seed in range(10)
    ]
    assert found_in_most(outcomes) == 0.2
    row = next(line for line in power_curve(outcomes).splitlines() if line.startswith("| 0.1 "))
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["0.1", "+0.300", "0.100"]  # half of 0.4 - 0.2
    assert "3/10 = 30.0%" in row
    assert found_in_most(outcomes[:10]) is None


def test_only_the_commands_own_part_of_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("before\n<!-- made by make x -->\nold\n<!-- end of what make x makes -->\nafter\n")
    replace_tables(path, "make x", "new")
    assert path.read_text() == "before\n<!-- made by make x -->\n\nnew\n\n<!-- end of what make x makes -->\nafter\n"


def test_a_file_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("nothing here\n")
    with pytest.raises(ValueError, match="no part that make x makes"):
        replace_tables(path, "make x", "new")
    assert path.read_text() == "nothing here\n"
