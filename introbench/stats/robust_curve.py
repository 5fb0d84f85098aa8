"""Huber's robust line and curve through points, for many vectors at once, and with each question left out in turn.

Fits are Huber's M-estimates (1964), so that a few questions far from the curve have bounded weight: control questions
that the injected concept happens to be about. What lies above such a curve is therefore an excess over the typical
control question, not over the mean of all of them.

The curve is a restricted cubic spline with four knots (Stone & Koo 1985; Harrell, Regression Modeling Strategies):
cubic between the knots, a straight line beyond the outer ones. A curve is needed because not every disturbance of
answers is a straight line in log-odds: one that saturates is S-shaped, and one that mixes answers with a coin toss is
steep where answers are confident.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from introbench.stats.intervals import Array

HUBER_LIMIT = 1.345
"""Residuals beyond this many robust standard deviations have bounded weight: 95% efficiency on normal data."""

MOST_ITERATIONS = 100
"""Largest number of iterations of the reweighted least squares; 15 to 20 are usual."""

REFIT_ITERATIONS = 6
"""Iterations with one question left out, from the fit and with the scale of all questions; the remaining error of
about a percent is small enough for a variance."""

KNOTS = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the baselines at which the curve's knots lie (Harrell's choice for four)."""

FEWEST_FOR_CURVE = 12
"""Questions that a curve needs; through fewer, a line is fitted."""

RIDGE = 1.0
"""Weight of the curvature's penalty, in questions: with 34 questions, 3% of the curvature is lost; with few, a curve
that is not needed stays near the line."""

_NORMAL_MAD = 0.6745
"""Median absolute deviation of a standard normal variable."""


@dataclass(frozen=True)
class Basis:
    """The functions of the baseline whose weighted sum a fit is.

    Attributes:
        knots: The four knots in nats, in ascending order; none for a line.
        mixing: From the plain functions (1, x, and two cubic ones) to functions that are orthogonal over the questions
            and of mean square 1, [functions, functions].
    """

    knots: Array
    mixing: Array

    @property
    def size(self) -> int:
        """Number of functions: 2 for a line, 4 for a curve."""
        return len(self.mixing)

    @cached_property
    def penalty(self) -> Array:
        """What is added to the normal equations: `RIDGE` for the functions that bend, [functions, functions]."""
        return np.diag([0.0, 0.0] + [RIDGE] * (self.size - 2))

    def functions(self, x: Array) -> Array:
        """The functions at x [...]: [..., functions]."""
        return np.asarray(_plain_functions(x, self.knots) @ self.mixing)


def line_basis(x: Array) -> Basis:
    """The functions of a line for questions at x, [questions]."""
    return _orthogonal(x, np.zeros(0))


def curve_basis(x: Array) -> Basis:
    """The functions of a curve for questions at x, [questions]; of a line where these are too few or too alike."""
    knots = np.quantile(x, KNOTS)
    apart = np.diff(knots).min() > 1e-3 * (x.max() - x.min())
    return _orthogonal(x, knots) if len(x) >= FEWEST_FOR_CURVE and apart else line_basis(x)


def robust_fits(basis: Basis, x: Array, y: Array) -> tuple[Array, Array]:
    """Huber's fit for each unit, by iteratively reweighted least squares.

    Args:
        basis: The functions that are summed.
        x: Baselines in nats, [units, questions].
        y: Shifts in nats, [units, questions].

    Returns:
        The functions' weights, [units, functions], and the robust standard deviations of the residuals, [units].
    """
    functions = basis.functions(x)
    size = np.maximum(np.abs(y).max(axis=1), 1e-200)
    # The median of all but the smallest: as many residuals as there are functions can always be made zero.
    middle = [(x.shape[1] + basis.size - 1) // 2, (x.shape[1] + basis.size) // 2]
    fits = _weighted_fits(basis, functions, y, np.ones_like(x))
    for _ in range(MOST_ITERATIONS):
        residuals = y - _sums(functions, fits)
        ordered = np.sort(np.abs(residuals), axis=1)
        scale = np.maximum(ordered[:, middle].mean(axis=1) / _NORMAL_MAD, 1e-13 * size)
        fits = _weighted_fits(basis, functions, y, huber_weights(residuals, scale))
        if (np.abs(y - _sums(functions, fits) - residuals).max(axis=1) <= 1e-10 * size).all():
            break
    return fits, scale


def leave_one_out_fits(basis: Basis, x: Array, y: Array, fits: Array, scale: Array) -> Array:
    """Huber's fits with each question left out in turn.

    Args:
        basis: The functions that are summed; knots stay where they are.
        x: Baselines in nats, [units, questions].
        y: Shifts in nats, [units, questions].
        fits: The fits of all questions, [units, functions], where the iterations start.
        scale: Robust standard deviations of their residuals, [units], which are kept.

    Returns:
        The functions' weights, [questions, units, functions].
    """
    functions = basis.functions(x)
    others = 1 - np.eye(x.shape[1])[:, None, :]
    without = np.broadcast_to(fits, (x.shape[1], *fits.shape))
    for _ in range(REFIT_ITERATIONS):
        without = _weighted_fits(basis, functions, y, others * huber_weights(y - _sums(functions, without), scale))
    return without


def heights(basis: Basis, fits: Array, x: Array) -> Array:
    """Where fits [..., units, functions] lie at x [units, questions], in nats: [..., units, questions]."""
    return _sums(basis.functions(x), fits)


def intercepts_and_slopes(basis: Basis, fits: Array) -> Array:
    """Of lines [..., functions]: their height at 0, in nats, and their slope, [..., 2]."""
    return np.asarray(fits @ basis.mixing.T)


def huber_weights(residuals: Array, scale: Array) -> Array:
    """Huber's weights of residuals [..., units, questions], given their robust standard deviations [units]."""
    limit = HUBER_LIMIT * scale[..., None]
    return limit / np.maximum(np.abs(residuals), limit)


def _plain_functions(x: Array, knots: Array) -> Array:
    """1, x, and for four knots the two cubic functions that are straight beyond the outer knots: [..., functions]."""
    columns = [np.ones_like(x), x]
    if len(knots):
        *inner, third, last = knots
        for knot in inner:
            bend = (
                _cube(x - knot)
                - _cube(x - third) * (last - knot) / (last - third)
                + _cube(x - last) * (third - knot) / (last - third)
            )
            columns.append(bend / (last - inner[0]) ** 2)
    return np.stack(columns, axis=-1)


def _cube(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0.0) ** 3)


def _orthogonal(x: Array, knots: Array) -> Basis:
    plain = _plain_functions(x, knots)
    triangle = np.linalg.qr(plain, mode="r")
    return Basis(knots, np.linalg.inv(triangle) * len(x) ** 0.5)


def _sums(functions: Array, fits: Array) -> Array:
    """Weighted sums of functions [units, questions, functions] by fits [..., units, functions]."""
    return np.asarray(np.matmul(functions, fits[..., None])[..., 0])


def _weighted_fits(basis: Basis, functions: Array, y: Array, weights: Array) -> Array:
    """Weighted least squares with the penalty on curvature; weights are [..., units, questions]."""
    weighted = functions * weights[..., None]
    normal = np.swapaxes(weighted, -1, -2) @ functions + basis.penalty
    right = np.swapaxes(weighted, -1, -2) @ y[..., None]
    return np.asarray(np.linalg.solve(normal, right)[..., 0])
