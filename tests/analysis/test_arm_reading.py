"""Measures of one arm: forms are added up, and yes is held against no, or against everything else."""

import math

import pytest

from introbench.analysis.arm_reading import ArmReading, arm_reading, log_odds
from introbench.records.arm_record import ArmRecord


def record(logprobs: dict[str, list[float]], lens: dict[str, list[float]] | None = None) -> ArmRecord:
    return ArmRecord("concept", "cats", "ab12", 8.0, 0.1, True, True, logprobs, lens or {})


def logs(*probabilities: float) -> list[float]:
    return [math.log(probability) for probability in probabilities]


def test_the_forms_of_an_answer_are_added_up() -> None:
    reading = arm_reading(record({"yes": logs(0.2, 0.1), "no": logs(0.3, 0.05, 0.25)}), [(" Yes", math.log(0.2))])
    assert (reading.arm, reading.vector) == ("concept", "cats")
    assert reading.p_yes == pytest.approx(0.3)
    assert reading.p_no == pytest.approx(0.6)
    assert reading.mass == pytest.approx(0.9)
    assert reading.log_odds == pytest.approx(-math.log(2))
    ((token, probability),) = reading.top
    assert (token, probability) == (" Yes", pytest.approx(0.2))


def test_forms_too_unlikely_for_a_float_are_added_up() -> None:
    reading = arm_reading(record({"yes": [-2000.0, -2000.0], "no": [-2000.0]}))
    assert reading.answers["yes"] == pytest.approx(-2000 + math.log(2), abs=1e-9)
    assert reading.log_odds == pytest.approx(math.log(2), abs=1e-9)
    assert reading.p_yes == 0


def test_without_a_no_yes_is_held_against_every_other_answer() -> None:
    reading = ArmReading("sham", "sham", {"yes": math.log(0.2)})
    assert reading.log_odds == pytest.approx(math.log(0.2 / 0.8))
    assert reading.mass == pytest.approx(1)
    assert log_odds({"yes": math.log(0.2), "no": math.log(0.4)}) == pytest.approx(-math.log(2)), "not against 0.8"


def test_what_was_read_after_every_block_is_kept_as_it_is() -> None:
    lens = {"yes": [-1.0, -2.0], "no": [-3.0, -1.5]}
    assert arm_reading(record({"yes": [-2.0], "no": [-1.5]}, lens)).lens == lens
    reading = arm_reading(record({"yes": [-2.0], "no": [-1.5]}, lens))
    assert reading.log_odds_by_layer == [2.0, -0.5]
    assert arm_reading(record({"yes": [-2.0], "no": [-1.5]})).log_odds_by_layer == []
