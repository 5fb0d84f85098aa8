"""Huber's lines: their minimum, what outliers do to them, and the lines without each question."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats
from simulated_answers import CONTROL_BASELINES, INTROSPECTION_BASELINES, ITEMS, SIDES, answers, noisy, rng

from introbench.stats import robust_curve
from introbench.stats.control_curve import fit_control_curve
from introbench.stats.robust_curve import heights, huber_weights, leave_one_out_lines, robust_curves


def test_points_on_lines_give_these_lines() -> None:
    truth = np.array([[0.5, -0.3], [-2.0, 0.1]])
    x = np.tile(CONTROL_BASELINES, (2, 1))
    lines, scale = robust_curves(x, heights(truth, x))
    assert lines == pytest.approx(truth)
    assert scale == pytest.approx(0, abs=1e-9)
    without = leave_one_out_lines(x, heights(truth, x), lines, scale)
    assert without.shape == (34, 2, 2)
    assert without == pytest.approx(np.broadcast_to(truth, without.shape))


@pytest.mark.parametrize("seed", range(5))
def test_lines_minimise_hubers_loss(seed: int) -> None:
    x = CONTROL_BASELINES[None] + 0.0
    y = rng(seed).standard_t(2, x.shape) - 0.3 * x
    (line,), (scale,) = robust_curves(x, y)
    assert scale == pytest.approx(
        stats.median_abs_deviation(y - line[0] - line[1] * x, axis=None, center=lambda r, axis: 0.0) / 0.6745, rel=0.25
    )

    def loss(guess: np.ndarray) -> float:
        size = np.abs(y - guess[0] - guess[1] * x) / scale
        return float(np.where(size < 1.345, size**2 / 2, 1.345 * size - 1.345**2 / 2).sum())

    best = optimize.minimize(loss, np.zeros(2), tol=1e-12)
    assert line == pytest.approx(best.x, abs=1e-5)
    weights = huber_weights(y - line[0] - line[1] * x, np.array([scale]))
    assert (weights < 1).any(), "or least squares would pass"


@pytest.mark.parametrize("seed", range(3))
def test_lines_without_a_question_minimise_hubers_loss_of_the_others(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.tile(CONTROL_BASELINES, (4, 1))
    y = rng(seed).standard_t(4, x.shape) - 0.3 * x
    lines, scale = robust_curves(x, y)
    without = leave_one_out_lines(x, y, lines, scale)
    monkeypatch.setattr(robust_curve, "REFIT_ITERATIONS", 200)
    exact = leave_one_out_lines(x, y, lines, scale)
    for left_out in range(x.shape[1]):
        others = np.arange(x.shape[1]) != left_out
        residuals = (y - heights(exact[left_out], x))[:, others]
        slope_of_loss = huber_weights(residuals, scale) * residuals
        assert slope_of_loss.sum(axis=1) == pytest.approx(0, abs=1e-9)
        assert (slope_of_loss * x[:, others]).sum(axis=1) == pytest.approx(0, abs=1e-9)
    moved = np.abs(exact - lines).max(axis=0)
    assert (np.abs(without - exact).max(axis=0) < 0.1 * moved).all(), "few iterations are enough"


def test_three_outlying_controls_hardly_bend_the_line() -> None:
    clean = noisy(10, spread=0.2)
    about = {"control 00", "control 03", "control 12"}  # all of them always_no, which bends least squares most
    outlying = [replace(answer, shift=answer.shift + 8) if answer.item in about else answer for answer in clean]
    straight, bent = fit_control_curve(clean, rng=rng()), fit_control_curve(outlying, rng=rng())
    assert abs(bent.excess.estimate - straight.excess.estimate) < 0.05
    assert abs(bent.bias.estimate - straight.bias.estimate) < 0.05
    assert abs(bent.flattening.estimate - straight.flattening.estimate) < 0.02
    squares = np.polyfit(CONTROL_BASELINES, np.where([item in about for item, *_ in ITEMS[:34]], 8.0, 0.0), 1)
    assert abs(squares[0]) > 0.1
    taken_away = abs(np.mean(SIDES * np.polyval(squares, INTROSPECTION_BASELINES)))
    assert taken_away > 0.4, "what least squares would have taken away"


def test_outliers_are_all_but_ignored_where_the_others_agree() -> None:
    shifts = answers(lambda _, side, at: 1 - 0.2 * at + side)
    outlying = [replace(a, shift=a.shift + 8) if a.item in {"control 00", "control 20"} else a for a in shifts]
    assert fit_control_curve(outlying, rng=rng()).excess.estimate == pytest.approx(1, abs=1e-9)
