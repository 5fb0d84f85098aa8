"""Huber's line through points, for many vectors at once, with each question left out in turn."""

import numpy as np
from scipy.special import expit

from introbench.stats.intervals import Array

HUBER = 1.345
"""Residuals beyond this many robust standard deviations have bounded weight: 95% efficiency on normal data."""

ITERATIONS = 100
"""Of iteratively reweighted least squares, at most; 15 to 20 are usual."""

REFITS = 6
"""Iterations when one question is left out, from the line of all questions and with its scale: a percent is enough."""

PULLS = np.concatenate([[0.0], np.geomspace(1e-5, 0.95, 120)])
"""Shares of the way to 1/2 that probabilities may be pulled."""


def pulled_shift(log_odds: Array, pull: float | Array) -> Array:
    """How far log-odds move if probabilities go some share of the way to 1/2."""
    yes, no = (pull / 2 + (1 - pull) * expit(each) for each in (log_odds, -log_odds))
    return np.asarray(np.log(yes) - np.log(no) - log_odds)


def robust_lines(x: Array, y: Array) -> tuple[Array, Array]:
    """Huber's line for each unit.

    Args:
        x: Baselines, [units, questions].
        y: Shifts.

    Returns:
        Intercepts and slopes, [units, 2], and the robust standard deviations of the residuals, [units].
    """
    size = np.maximum(np.abs(y).max(axis=1), 1e-200)
    # The median of all but the two smallest: a line can always make two residuals zero.
    middle = [(x.shape[1] + 1) // 2, (x.shape[1] + 2) // 2]
    lines = _weighted_lines(x, y, np.ones_like(x))
    for _ in range(ITERATIONS):
        residuals = y - along_line(lines, x)
        ordered = np.sort(np.abs(residuals), axis=1)
        scale = np.maximum(ordered[:, middle].mean(axis=1) / 0.6745, 1e-13 * size)
        lines = _weighted_lines(x, y, _weights(residuals, scale))
        if (np.abs(y - along_line(lines, x) - residuals).max(axis=1) <= 1e-10 * size).all():
            break
    return lines, scale


def robust_lines_without_each(x: Array, y: Array, lines: Array, scale: Array) -> Array:
    """The lines with each question left out in turn, [questions, units, 2]."""
    others = 1 - np.eye(x.shape[1])[:, None, :]
    without = np.broadcast_to(lines, (x.shape[1], *lines.shape))
    for _ in range(REFITS):
        without = _weighted_lines(x, y, others * _weights(y - along_line(without, x), scale))
    return without


def _weights(residuals: Array, scale: Array) -> Array:
    limit = HUBER * scale[..., None]
    return limit / np.maximum(np.abs(residuals), limit)


def _weighted_lines(x: Array, y: Array, weights: Array) -> Array:
    """Weighted least squares along the last axis: intercepts and slopes."""
    total = weights.sum(axis=-1)
    centre, height = (np.einsum("...i,...i->...", weights, values) / total for values in (x, y))
    offset = x - centre[..., None]
    leaning = weights * offset
    slope = np.einsum("...i,...i->...", leaning, y) / np.einsum("...i,...i->...", leaning, offset)
    return np.stack([height - slope * centre, slope], axis=-1)


def along_line(lines: Array, x: Array) -> Array:
    return lines[..., :1] + lines[..., 1:] * x
