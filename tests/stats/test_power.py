"""How many concepts would show an effect: calibration by simulation, and what cannot be promised."""

import numpy as np
import pytest

from introbench.stats.intervals import NOT_MEASURED, Interval, mean_interval
from introbench.stats.power import concepts_needed

MARGIN = 0.5


@pytest.mark.parametrize("spread", [0.3, 1.0, pytest.param(2.0, marks=pytest.mark.slow)])
def test_so_many_concepts_show_an_effect_of_the_margin_in_four_runs_of_five(spread: float) -> None:
    draw = np.random.default_rng(0)
    needed = [concepts_needed(mean_interval(spread * draw.standard_normal(9), rng=draw), MARGIN) for _ in range(200)]
    count = int(np.median(needed))
    shown = [
        mean_interval(MARGIN + spread * draw.standard_normal(count), resamples=1000, rng=draw).low > 0
        for _ in range(400)
    ]
    assert 0.68 < np.mean(shown) < 0.95


def test_where_questions_differ_too_much_no_number_of_concepts_is_promised() -> None:
    without_floor, with_floor = (Interval(0.9, -0.1, 1.9, 9, floor=floor) for floor in (0.0, 0.3))
    assert (concepts_needed(with_floor, MARGIN) or 0) > (concepts_needed(without_floor, MARGIN) or 0) > 9
    assert concepts_needed(Interval(0.9, -0.1, 1.9, 9, floor=0.9), MARGIN) is None


def test_without_an_interval_nothing_can_be_scaled() -> None:
    assert concepts_needed(NOT_MEASURED, MARGIN) == 0
    assert concepts_needed(Interval(0.9, 0.1, 1.7, 1), MARGIN) == 0


def test_concepts_that_agree_need_no_more_than_the_fewest() -> None:
    assert concepts_needed(Interval(1.0, 1.0, 1.0, 9), MARGIN) == 3
