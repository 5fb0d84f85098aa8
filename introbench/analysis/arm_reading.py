"""What one arm's answer distribution says: log-odds, probabilities, mass; and how two arms differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from introbench.records.arm_record import ArmRecord

RESOLUTION = 1e-6
"""Probability of all other answers below which float32 log-probabilities do not tell it from 0."""


@dataclass(frozen=True)
class ArmReading:
    """One arm of a trial.

    Attributes:
        arm: Name of the arm: `sham`, `concept`, `random 1`, ...
        vector: Which vector was injected.
        answers: Log-probability of each answer: logsumexp over its forms, in nats.
        top: The most likely tokens with their probabilities.
        lens: The same after every block, where it was read: one number per layer for each answer.
        strength: Norm of what was added at each layer; None for the sham.
        dose: What the injection does to neutral text, in nats; None if it was not measured.
    """

    arm: str
    vector: str
    answers: Mapping[str, float]
    top: tuple[tuple[str, float], ...] = ()
    lens: Mapping[str, Sequence[float]] = field(default_factory=dict)
    strength: float | None = None
    dose: float | None = None

    @property
    def log_odds(self) -> float:
        """Log-odds of yes against no, in nats."""
        return log_odds(self.answers)

    @property
    def log_odds_by_layer(self) -> list[float]:
        """Log-odds of yes against no after every block, in nats; empty where the lens was not read."""
        return [log_odds(dict(zip(self.lens, block, strict=True))) for block in zip(*self.lens.values(), strict=True)]

    @property
    def p_yes(self) -> float:
        """Probability of all yes forms together."""
        return math.exp(self.answers["yes"])

    @property
    def p_no(self) -> float:
        """Probability of all no forms together."""
        return math.exp(_no(self.answers))

    @property
    def mass(self) -> float:
        """Probability that the answer is one of the forms at all."""
        return self.p_yes + self.p_no


def log_odds(answers: Mapping[str, float]) -> float:
    """Log-odds of yes against no, from their log-probabilities; against every other answer, if there is no no."""
    return answers["yes"] - _no(answers)


def _no(answers: Mapping[str, float]) -> float:
    return answers["no"] if "no" in answers else math.log(max(-math.expm1(answers["yes"]), RESOLUTION))


def arm_reading(record: ArmRecord, top: Sequence[tuple[str, float]] = ()) -> ArmReading:
    """Measures of an arm whose numbers are finite.

    Args:
        record: The provider's record, with the log-probabilities of each answer's forms.
        top: The most likely tokens with their log-probabilities.
    """
    likely = tuple((token, math.exp(logprob)) for token, logprob in top)
    answers = {name: _logsumexp(logprobs) for name, logprobs in record.logprobs.items()}
    return ArmReading(record.arm, record.vector, answers, likely, record.lens, record.strength, record.dose)


def _logsumexp(values: Sequence[float]) -> float:
    """Of a few finite numbers; scipy's takes longer to look at its arguments than to compute."""
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))
