"""What a run's self-checks found: one record per arm batch, as JSON in the log; needs no torch."""

from dataclasses import dataclass, field

Value = float | str
"""What a check found: a number, "ok", or "not checked: why"."""

REFERENCE_CHECKS = ("float32 readout", "sham is plain", "cache is clean", "spans", "arms in order")
"""The checks that compare the engine with the reference; all but the first have values in nats."""

SECONDS = "seconds"
"""Key of the time that the checks took, in a record as JSON."""


@dataclass
class Record:
    """What the checks of an arm batch found.

    Attributes:
        values: By name of the check.
        seconds: Time that the checks took.
    """

    values: dict[str, Value] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Value]:
        """One mapping of names and values, with the time in it."""
        numbers = {**self.values, SECONDS: self.seconds}
        return {name: value if isinstance(value, str) else float(f"{value:.3g}") for name, value in numbers.items()}
