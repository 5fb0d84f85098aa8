"""Huber's lines and curves: what they reproduce, their minimum, outliers, and the fits without each question."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.interpolate import CubicSpline
from simulated_answers import CONTROL_BASELINES, INTROSPECTION_BASELINES, ITEMS, SIDES, answers, noisy, rng

from introbench.stats import robust_curve
from introbench.stats.control_curve import fit_control_curve
from introbench.stats.robust_curve import (
    FEWEST_FOR_CURVE,
    KNOTS,
    Basis,
    curve_basis,
    heights,
    huber_weights,
    intercepts_and_slopes,
    leave_one_out_fits,
    line_basis,
    robust_fits,
)

BASES = {"line": line_basis, "curve": curve_basis}
AT = np.linspace(-9, 9, 37)
"""Baselines at which fits are compared, also beyond the questions."""


def restricted_cubic(x: np.ndarray, values: list[float]) -> np.ndarray:
    """The natural cubic spline with these values at the knots, which goes on in straight lines: by scipy alone."""
    knots = np.quantile(CONTROL_BASELINES, KNOTS)
    spline = CubicSpline(knots, values, bc_type="natural")
    inside = np.clip(x, knots[0], knots[-1])
    return spline(inside) + spline(inside, 1) * (x - inside)


# What fits reproduce


def test_a_curve_has_four_functions_and_a_line_two() -> None:
    assert (line_basis(CONTROL_BASELINES).size, curve_basis(CONTROL_BASELINES).size) == (2, 4)
    few = np.linspace(-6, 6, FEWEST_FOR_CURVE)
    assert (curve_basis(few[:-1]).size, curve_basis(few).size) == (2, 4)
    assert curve_basis(np.repeat([-3.0, 3.0], 10)).size == 2, "knots that coincide"


@pytest.mark.parametrize("name", BASES)
def test_functions_are_orthogonal_over_the_questions_and_of_mean_square_1(name: str) -> None:
    functions = BASES[name](CONTROL_BASELINES).functions(CONTROL_BASELINES)
    assert functions.T @ functions / len(CONTROL_BASELINES) == pytest.approx(np.eye(functions.shape[1]), abs=1e-9)


@pytest.mark.parametrize("name", BASES)
def test_points_on_lines_give_these_lines(name: str) -> None:
    """Lines are not curved, so that the penalty on curvature leaves them alone."""
    basis = BASES[name](CONTROL_BASELINES)
    truth = np.array([[0.5, -0.3], [-2.0, 0.1]])
    x, at = (np.tile(places, (2, 1)) for places in (CONTROL_BASELINES, AT))
    y, at_y = (truth[:, :1] + truth[:, 1:] * places for places in (x, at))
    fits, scale = robust_fits(basis, x, y)
    assert heights(basis, fits, at) == pytest.approx(at_y)
    assert scale == pytest.approx(0, abs=1e-9)
    without = leave_one_out_fits(basis, x, y, fits, scale)
    assert without.shape == (34, 2, basis.size)
    assert heights(basis, without, at) == pytest.approx(np.broadcast_to(at_y, (34, *at_y.shape)))
    if name == "line":
        assert intercepts_and_slopes(basis, fits) == pytest.approx(truth)
        assert intercepts_and_slopes(basis, without) == pytest.approx(np.broadcast_to(truth, (34, 2, 2)))


@pytest.mark.parametrize("values", [[1.0, 0.0, 0.0, 1.0], [-2.0, 3.0, -1.0, 0.5], [0.0, 0.0, 1.0, 0.0]])
def test_a_curve_reproduces_any_restricted_cubic_but_for_the_penalty(
    values: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    basis = curve_basis(CONTROL_BASELINES)
    x, truth = CONTROL_BASELINES[None], restricted_cubic(AT, values)[None]
    y = restricted_cubic(x, values)
    bend = np.abs(y - np.polyval(np.polyfit(x[0], y[0], 1), x)).max()
    shrunk, _ = robust_fits(basis, x, y)
    lost = np.abs(heights(basis, shrunk, x) - y).max()
    assert 0.005 * bend < lost < 0.05 * bend, "34 questions against a penalty of one"
    monkeypatch.setattr(robust_curve, "RIDGE", 0.0)
    basis = curve_basis(CONTROL_BASELINES)
    fits, scale = robust_fits(basis, x, y)
    assert heights(basis, fits, AT[None]) == pytest.approx(truth, abs=1e-9)
    without = leave_one_out_fits(basis, x, y, fits, scale)
    assert heights(basis, without, AT[None]) == pytest.approx(np.broadcast_to(truth, (34, 1, len(AT))), abs=1e-9)


def test_the_penalty_takes_the_stated_share_of_the_curvature() -> None:
    """Least squares on orthogonal functions lose a share of 1 / (questions + 1)."""
    basis = curve_basis(CONTROL_BASELINES)
    x = CONTROL_BASELINES[None]
    truth = np.array([[0.4, -0.2, 0.7, -0.5]])
    y = heights(basis, truth, x)
    least_squares = robust_curve._weighted_fits(basis, basis.functions(x), y, np.ones_like(x))
    assert least_squares == pytest.approx(truth * [1, 1, 34 / 35, 34 / 35])


# The minimum


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("seed", range(3))
def test_fits_minimise_hubers_loss_with_the_penalty(seed: int, name: str) -> None:
    basis = BASES[name](CONTROL_BASELINES)
    x = CONTROL_BASELINES[None] + 0.0
    y = rng(seed).standard_t(2, x.shape) - 0.3 * x
    (fit,), (scale,) = robust_fits(basis, x, y)
    residuals = y - heights(basis, fit[None], x)
    spread = stats.median_abs_deviation(residuals, axis=None, center=lambda r, axis: 0.0) / 0.6745
    assert scale == pytest.approx(spread, rel=0.25)

    def loss(guess: np.ndarray) -> float:
        size = np.abs(y - basis.functions(x) @ guess) / scale
        of_answers = np.where(size < 1.345, size**2 / 2, 1.345 * size - 1.345**2 / 2).sum()
        return float(of_answers + (guess[2:] ** 2).sum() / 2 / scale**2)

    best = optimize.minimize(loss, np.zeros(basis.size), tol=1e-12)
    assert fit == pytest.approx(best.x, abs=1e-5)
    assert (huber_weights(residuals, np.array([scale])) < 1).any(), "or least squares would pass"


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("seed", range(3))
def test_fits_without_a_question_minimise_hubers_loss_of_the_others(
    seed: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    basis = BASES[name](CONTROL_BASELINES)
    x = np.tile(CONTROL_BASELINES, (4, 1))
    y = rng(seed).standard_t(4, x.shape) - 0.3 * x
    fits, scale = robust_fits(basis, x, y)
    without = leave_one_out_fits(basis, x, y, fits, scale)
    monkeypatch.setattr(robust_curve, "REFIT_ITERATIONS", 200)
    exact = leave_one_out_fits(basis, x, y, fits, scale)
    pull = np.array([0.0, 0.0, 1.0, 1.0])[: basis.size]
    for left_out in range(x.shape[1]):
        others = np.arange(x.shape[1]) != left_out
        residuals = (y - heights(basis, exact[left_out], x))[:, others]
        slope_of_loss = huber_weights(residuals, scale) * residuals
        gradient = np.einsum("uq,uqf->uf", slope_of_loss, basis.functions(x[:, others]))
        assert gradient == pytest.approx(pull * exact[left_out], abs=1e-8)
    moved = np.abs(exact - fits).max(axis=0)
    assert (np.abs(without - exact).max(axis=0) < 0.1 * moved).all(), "few iterations are enough"


@pytest.mark.parametrize("name", BASES)
def test_fits_without_a_question_are_nearly_those_of_the_other_questions_alone(name: str) -> None:
    """Against a plain fit of each smaller set of questions, with the same functions and a scale of its own.

    The scale of single units jumps with the median, so that it is their mean that agrees.
    """
    basis = BASES[name](CONTROL_BASELINES)
    x = np.tile(CONTROL_BASELINES, (40, 1))
    y = 0.3 * rng(7).standard_normal(x.shape) - 0.9 * np.tanh(x / 1.5)
    fits, scale = robust_fits(basis, x, y)
    without = leave_one_out_fits(basis, x, y, fits, scale)
    plain = np.array([robust_fits(basis, np.delete(x, n, 1), np.delete(y, n, 1))[0] for n in range(x.shape[1])])
    variances, plain_variances = (np.square(of - fits).sum(axis=0).mean(axis=0) for of in (without, plain))
    assert variances == pytest.approx(plain_variances, rel=0.1)
    assert np.corrcoef((without - fits).ravel(), (plain - fits).ravel())[0, 1] > 0.9


# Outliers


def test_three_outlying_controls_hardly_bend_the_curve() -> None:
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


def test_a_basis_without_knots_has_no_penalty() -> None:
    assert not line_basis(CONTROL_BASELINES).penalty.any()
    assert isinstance(curve_basis(CONTROL_BASELINES), Basis)
    assert np.diag(curve_basis(CONTROL_BASELINES).penalty).tolist() == [0, 0, 1, 1]
