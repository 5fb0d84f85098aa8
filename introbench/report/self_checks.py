"""The line that sums up what a run's self-checks found."""

from collections.abc import Mapping, Sequence

from introbench.checks.record import REFERENCE_CHECKS, SECONDS, Value


def summary(records: Sequence[Mapping[str, Value]], duration: float) -> str:
    """One line on the checks of all arm batches: the largest number of each check, and the checks never made.

    Args:
        records: Of each arm batch, as JSON.
        duration: Of the run, in seconds; 0 if it has not ended, or in under one (a log has whole seconds).
    """
    passed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in dict.fromkeys(name for record in records for name in record if name != SECONDS):
        values = [record[name] for record in records if name in record]
        numbers = [value for value in values if not isinstance(value, str)]
        if numbers:
            worst = min(numbers) if name == "arms in order" else max(numbers)
            passed[name] = f"{name} {worst:.2g}" + (" nats" if name in REFERENCE_CHECKS else "")
        elif "ok" in values:
            passed[name] = name
        else:
            skipped[name] = str(values[0])
    seconds = sum(float(record.get(SECONDS, 0)) for record in records)
    took = f"{seconds / duration:.1%} of the time" if duration > 0 else f"{seconds:.1f} s"
    sentences = [f"Self-checks: {len(passed)} passed ({'; '.join(passed.values())}), {took}."]
    return " ".join([*sentences, *(f"{name}: {why}." for name, why in skipped.items())])


def short_summary(records: Sequence[Mapping[str, Value]]) -> str:
    """How many of the self-checks were passed and how many were not made, in a sentence.

    Args:
        records: Of each arm batch, as JSON.
    """
    names = dict.fromkeys(name for record in records for name in record if name != SECONDS)
    made = [name for name in names if any(_is_made(record[name]) for record in records if name in record)]
    left = len(names) - len(made)
    return f"Self-checks: {len(made)} passed{f', {left} not made' if left else ''}."


def _is_made(value: Value) -> bool:
    """Whether a check was made, and not why it was left out."""
    return value == "ok" or not isinstance(value, str)
