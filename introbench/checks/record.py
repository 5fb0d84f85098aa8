"""What a run's self-checks found: one record per arm batch, plain JSON in the log."""

from dataclasses import dataclass, field

Value = float | str
"""What a check found: a number, "ok", or "not checked: why"."""

NAMES = ("float32 readout", "sham is plain", "cache is clean", "spans", "arms in order")
"""The checks that are made here; all but the first have numbers in nats."""

SECONDS = "seconds"
"""Where a record as JSON has the time that its checks took."""


@dataclass
class Record:
    """What a bank's checks found, by name, and the seconds that they took."""

    found: dict[str, Value] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Value]:
        """As one mapping, for the log."""
        numbers = {**self.found, SECONDS: self.seconds}
        return {name: value if isinstance(value, str) else float(f"{value:.3g}") for name, value in numbers.items()}
