"""Huber's robust line through points, for many vectors at once, and with each question left out in turn.

Lines are Huber's M-estimates (1964), so that a few questions far from the line have bounded weight: control questions
that the injected concept happens to be about. What lies above such a line is therefore an excess over the typical
control question, not over the mean of all of them.
"""

import numpy as np

from introbench.stats.intervals import Array

HUBER_LIMIT = 1.345
"""Residuals beyond this many robust standard deviations have bounded weight: 95% efficiency on normal data."""

MOST_ITERATIONS = 100
"""Largest number of iterations of the reweighted least squares; 15 to 20 are usual."""

REFIT_ITERATIONS = 6
"""Iterations with one question left out, from the line and with the scale of all questions; the remaining error of
about a percent is small enough for a variance."""

_NORMAL_MAD = 0.6745
"""Median absolute deviation of a standard normal variable."""


def robust_lines(x: Array, y: Array) -> tuple[Array, Array]:
    """Huber's line for each unit, by iteratively reweighted least squares.

    Args:
        x: Baselines in nats, [units, questions].
        y: Shifts in nats, [units, questions].

    Returns:
        Intercepts and slopes, [units, 2], and the robust standard deviations of the residuals, [units].
    """
    size = np.maximum(np.abs(y).max(axis=1), 1e-200)
    # The median of all but the two smallest: a line can always make two residuals zero.
    middle = [(x.shape[1] + 1) // 2, (x.shape[1] + 2) // 2]
    lines = _weighted_lines(x, y, np.ones_like(x))
    for _ in range(MOST_ITERATIONS):
        residuals = y - heights(lines, x)
        ordered = np.sort(np.abs(residuals), axis=1)
        scale = np.maximum(ordered[:, middle].mean(axis=1) / _NORMAL_MAD, 1e-13 * size)
        lines = _weighted_lines(x, y, huber_weights(residuals, scale))
        if (np.abs(y - heights(lines, x) - residuals).max(axis=1) <= 1e-10 * size).all():
            break
    return lines, scale


def leave_one_out_lines(x: Array, y: Array, lines: Array, scale: Array) -> Array:
    """Huber's lines with each question left out in turn.

    Args:
        x: Baselines in nats, [units, questions].
        y: Shifts in nats, [units, questions].
        lines: The lines of all questions, [units, 2], where the iterations start.
        scale: Robust standard deviations of their residuals, [units], which are kept.

    Returns:
        Intercepts and slopes, [questions, units, 2].
    """
    others = 1 - np.eye(x.shape[1])[:, None, :]
    without = np.broadcast_to(lines, (x.shape[1], *lines.shape))
    for _ in range(REFIT_ITERATIONS):
        without = _weighted_lines(x, y, others * huber_weights(y - heights(without, x), scale))
    return without


def heights(lines: Array, x: Array) -> Array:
    """Where lines [..., units, 2], given by intercept and slope, lie at x [units, questions]."""
    return lines[..., :1] + lines[..., 1:] * x


def huber_weights(residuals: Array, scale: Array) -> Array:
    """Huber's weights of residuals [..., units, questions], given their robust standard deviations [units]."""
    limit = HUBER_LIMIT * scale[..., None]
    return limit / np.maximum(np.abs(residuals), limit)


def _weighted_lines(x: Array, y: Array, weights: Array) -> Array:
    """Weighted least squares along the last axis: intercepts and slopes, [..., 2]."""
    total = weights.sum(axis=-1)
    centre, height = (np.einsum("...i,...i->...", weights, values) / total for values in (x, y))
    offset = x - centre[..., None]
    leaning = weights * offset
    slope = np.einsum("...i,...i->...", leaning, y) / np.einsum("...i,...i->...", leaning, offset)
    return np.stack([height - slope * centre, slope], axis=-1)
