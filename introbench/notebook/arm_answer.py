"""What a model answers under one arm, as a plain record that data frames are made of."""

import math
from dataclasses import dataclass

from introbench.analysis.arm_reading import arm_reading
from introbench.records.arm_record import ArmRecord, number_or_nan

SHAM, VECTOR, RANDOM = "sham", "vector", "random"


@dataclass(frozen=True)
class ArmAnswer:
    """The answer to one question under one arm; numbers are NaN where the model's are not finite.

    Attributes:
        question: Text of the question.
        arm: `sham`, the name of the vector that was injected, or that of a random one.
        kind: `sham`, `vector` or `random`.
        log_odds: Log-odds of yes against no, in nats.
        shift: Log-odds under this arm minus those under the sham, in nats: above 0 is toward yes.
        p_yes: Probability of all yes forms together, from 0 to 1.
        p_no: Probability of all no forms together, from 0 to 1.
        mass: Probability that the answer is one of these forms at all.
        norm: Norm of what was added at each layer (times the file's own, where a vector was read from a file).
        dose: How far the injection moves what is said next about neutral things, in nats.
        live: Whether the vector brings its concept to mind; None if that does not apply.
    """

    question: str
    arm: str
    kind: str
    log_odds: float
    shift: float
    p_yes: float
    p_no: float
    mass: float
    norm: float
    dose: float
    live: bool | None


def arm_answer(question: str, kind: str, record: ArmRecord, sham: ArmRecord) -> ArmAnswer:
    """What the record of an arm says, beside that of the sham."""
    reading, baseline = (arm_reading(each) if each.finite else None for each in (record, sham))
    log_odds = reading.log_odds if reading else math.nan
    return ArmAnswer(
        question=question,
        arm=record.arm,
        kind=kind,
        log_odds=log_odds,
        shift=log_odds - baseline.log_odds if baseline else math.nan,
        p_yes=reading.p_yes if reading else math.nan,
        p_no=reading.p_no if reading else math.nan,
        mass=reading.mass if reading else math.nan,
        norm=number_or_nan(record.strength),
        dose=number_or_nan(record.dose),
        live=record.live,
    )
