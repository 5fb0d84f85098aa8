"""The line that sums up a run's self-checks."""

from introbench.checks.record import SECONDS
from introbench.report.self_checks import short_summary, summary


def test_the_line_takes_the_worst_of_all_batches() -> None:
    later = "not checked: on banks 1, 2, 4, 8 and so on of a run alone"
    records = [
        {"finite": "ok", "spans": 1e-6, "arms in order": 0.5, "one BOS": "not checked: no BOS", SECONDS: 1.0},
        {"finite": "ok", "spans": 3e-6, "arms in order": 0.2, "one BOS": "not checked: no BOS", SECONDS: 0.5},
        {"finite": "ok", "spans": later, "arms in order": later, "one BOS": "not checked: no BOS", SECONDS: 0.5},
    ]
    assert summary(records, 100.0) == (
        "Self-checks: 3 passed (finite; spans 3e-06 nats; arms in order 0.2 nats), 2.0% of the time. "
        "one BOS: not checked: no BOS."
    )


def test_the_line_of_a_run_that_was_cut_off_has_seconds() -> None:
    assert summary([{"finite": "ok", SECONDS: 1.5}], 0.0) == "Self-checks: 1 passed (finite), 1.5 s."


def test_the_short_line_counts_what_any_batch_has_checked() -> None:
    later = "not checked: on banks 1, 2, 4, 8 and so on of a run alone"
    records = [
        {"finite": "ok", "spans": 1e-6, "one BOS": "not checked: no BOS", SECONDS: 1.0},
        {"finite": "ok", "spans": later, "one BOS": "not checked: no BOS", SECONDS: 0.5},
    ]
    assert short_summary(records) == "Self-checks: 2 passed, 1 not made."
    assert short_summary([{"finite": "ok", SECONDS: 1.5}]) == "Self-checks: 1 passed."
