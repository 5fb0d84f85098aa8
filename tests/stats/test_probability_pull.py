"""A pull of probabilities toward 1/2: its fit, and how it differs from a line."""

import math
from dataclasses import replace

import numpy as np
import pytest
from simulated_answers import CONTROL_BASELINES, answers, rng

from introbench.stats.balanced_answers import Answer
from introbench.stats.control_line import fit_control_line
from introbench.stats.probability_pull import PULLS, fit_pulls, pulled_shifts


def pulled(at: float, share: float) -> float:
    p = (1 - share) / (1 + math.exp(-at)) + share / 2
    return math.log(p / (1 - p)) - at


@pytest.mark.parametrize("share", [0.0, 0.03, 0.9])
def test_shifts_are_those_of_probabilities(share: float) -> None:
    expected = [pulled(at, share) for at in CONTROL_BASELINES]
    assert pulled_shifts(CONTROL_BASELINES, share) == pytest.approx(expected)


def test_pushes_and_pulls_are_recovered_for_each_unit() -> None:
    pulls, pushes = PULLS[[0, 60, 100]], np.array([0.5, -1.0, 2.0])
    baselines = np.tile(CONTROL_BASELINES, (3, 1))
    shifts = pushes[:, None] + pulled_shifts(baselines, pulls[:, None])
    shifts[:, 5] += 9.0  # one outlier does not matter
    fitted_pushes, fitted_pulls = fit_pulls(baselines, shifts)
    assert fitted_pushes == pytest.approx(pushes)
    assert fitted_pulls.tolist() == pulls.tolist()


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_a_pull_of_probabilities_is_an_excess_over_a_line_and_none_over_a_pull(share: float) -> None:
    def shift(_: int, side: float, at: float) -> float:
        return 0.3 + pulled(at, share)

    def at_the_edge(answer: Answer) -> Answer:
        at = -5.5 * answer.side
        return replace(answer, baseline=at, shift=shift(0, answer.side, at)) if answer.side else answer

    fit = fit_control_line([at_the_edge(answer) for answer in answers(shift)], rng=rng())
    assert fit.covered == 1
    assert fit.excess.estimate > 0.3, "taken for a line, it looks like noticing"
    assert abs(fit.over_pull) < 0.05


@pytest.mark.parametrize("share", [0.0, 0.03, 0.3])
def test_noticing_is_an_excess_over_a_pull_too(share: float) -> None:
    draw = rng()
    noticing = answers(lambda _, side, at: 0.3 + pulled(at, share) + side + 0.3 * draw.standard_normal())
    assert fit_control_line(noticing, rng=rng()).over_pull == pytest.approx(1, abs=0.12)
