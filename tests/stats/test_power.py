"""The cheapest larger run: what it scales, calibration by simulation, and what cannot be promised."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from introbench.stats.intervals import NOT_MEASURED, Interval, VariancePart, mean_interval
from introbench.stats.power import (
    MOST_QUESTIONS,
    MOST_UNITS,
    POWER,
    VARIANCE_LEVEL,
    _scaled,
    _upper_limits,
    cheapest_run,
)

MARGIN = 0.5
UNITS = (VariancePart("units", 0.03, 9),)
QUESTIONS = (
    VariancePart("questions 0", 0.005, 40),
    VariancePart("cells 0", 0.0005, 40),
    VariancePart("questions 1", 0.02, 12),
    VariancePart("cells 1", 0.002, 12),
)
OPEN = Interval(0.3, -0.1, 0.7, 9)


@pytest.mark.parametrize("runs", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("spread", [0.4, 0.8])
def test_the_advised_number_of_units_settles_four_runs_of_five(spread: float, runs: int) -> None:
    """From four units, for effects between 0 and twice the margin; taken as measured, their variances settle 75%."""
    draw = np.random.default_rng(0)

    def measure(effect: float, units: int) -> Interval:
        return mean_interval(effect + spread * draw.standard_normal(units), resamples=500, rng=draw)

    settled = []
    while len(settled) < runs:
        effect = draw.uniform(0, 2 * MARGIN)
        first = measure(effect, 4)
        run = None if first.low > 0 or first.high < MARGIN else cheapest_run(first, MARGIN)
        if run is not None:
            again = measure(effect, run.units)
            settled.append(again.low > 0 or again.high < MARGIN)
    assert np.mean(settled) >= POWER
    assert np.mean(settled) < 0.99, "or smaller runs would do"


def test_what_has_the_variance_is_asked_for() -> None:
    of_units = cheapest_run(replace(OPEN, parts=(*UNITS, *(replace(p, variance=1e-5) for p in QUESTIONS))), MARGIN)
    assert of_units is not None
    assert of_units.units > 9
    assert of_units.questions == {0: 40, 1: 12}
    of_questions = cheapest_run(replace(OPEN, parts=(replace(UNITS[0], variance=1e-5), *QUESTIONS)), MARGIN)
    assert of_questions is not None
    assert of_questions.units == 9
    assert of_questions.questions[1] > 12


def test_the_run_with_the_fewest_answers_is_taken() -> None:
    """Of two families with the same variance the smaller one is doubled rather than the larger one."""
    parts = (
        VariancePart("units", 1e-5, 9),
        VariancePart("questions 0", 0.015, 60),
        VariancePart("questions 1", 0.015, 20),
    )
    run = cheapest_run(replace(OPEN, parts=parts), MARGIN)
    assert run is not None
    assert run.questions[1] / 20 > run.questions[0] / 60
    assert run.assurance >= POWER


def test_parts_shrink_with_what_there_is_more_of() -> None:
    """Twice the units, three times the first family and four times the second."""
    parts = _scaled((*UNITS, *QUESTIONS, VariancePart("kinds", 0.01, 4)), 2.0, {0: 3.0, 1: 4.0})
    assert [part.count for part in parts] == [18, 120, 120, 48, 48, 4]
    assert [part.variance for part in parts] == pytest.approx(
        [0.03 / 2, 0.005 / 3, 0.0005 / (2 * 3), 0.02 / 4, 0.002 / (2 * 4), 0.01]
    ), "single cells shrink with both"


def test_variances_are_taken_at_their_upper_confidence_limits() -> None:
    """By hand: what varies as chi-squared is a part with the noise of cells that was taken off it."""

    def ratio(freedom: int) -> float:
        return freedom / stats.chi2.ppf(1 - VARIANCE_LEVEL, freedom)

    limits = _upper_limits((*UNITS, *QUESTIONS, VariancePart("kinds", 0.01, 4)))
    assert [limit.variance for limit in limits] == pytest.approx(
        [
            (0.03 + 0.0025) * ratio(8) - 0.0025,
            (0.005 + 0.0005) * ratio(38) - 0.0005,
            0.0005,
            (0.02 + 0.002) * ratio(10) - 0.002,
            0.002,
            0.01 * ratio(3),
        ]
    )
    first, second, *_ = _upper_limits((*UNITS, VariancePart("units", 0.03, 4), *QUESTIONS))
    assert first.variance == pytest.approx((0.03 + 0.00125) * ratio(8) - 0.00125), "two populations share the noise"
    assert second.variance == pytest.approx((0.03 + 0.00125) * ratio(3) - 0.00125)


def test_an_interval_without_parts_is_of_units_alone() -> None:
    variance = (0.4 / stats.t.ppf(0.975, 8)) ** 2
    by_part, alone = (
        cheapest_run(i, MARGIN) for i in (replace(OPEN, parts=(VariancePart("units", variance, 9),)), OPEN)
    )
    assert by_part is not None
    assert alone is not None
    assert (by_part.units, by_part.questions) == (alone.units, {})
    assert by_part.assurance == pytest.approx(alone.assurance)


def test_an_effect_of_the_margin_is_harder_to_settle_than_a_large_one() -> None:
    small, large = (cheapest_run(Interval(at, at - 0.9, at + 0.9, 9), MARGIN) for at in (0.25, 0.85))
    assert small is not None
    assert large is not None
    assert small.units > large.units


def test_kinds_of_answers_are_not_narrowed() -> None:
    parts = (replace(UNITS[0], variance=1e-4), VariancePart("kinds", 0.03, 4))
    assert cheapest_run(replace(OPEN, parts=parts), MARGIN) is None


def test_too_large_runs_are_not_proposed() -> None:
    wide = Interval(0.0, -9.0, 9.0, 9)
    assert cheapest_run(wide, MARGIN) is None
    assert (MOST_UNITS, MOST_QUESTIONS) == (120, 240)
    at_most = cheapest_run(Interval(0.2, -1.0, 1.4, 60), MARGIN)
    assert at_most is None or at_most.units <= MOST_UNITS


def test_without_an_interval_nothing_can_be_scaled() -> None:
    for interval in (NOT_MEASURED, Interval(0.9, np.nan, np.nan, 1), Interval(1.0, 1.0, 1.0, 9)):
        assert cheapest_run(interval, MARGIN) is None
