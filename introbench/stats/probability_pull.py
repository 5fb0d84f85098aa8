"""A pull of probabilities toward 1/2: an alternative to the control line, and not a line in log-odds.

If an injection mixes a model's answers with a coin toss, log-odds lose most where answers are confident, along a curve
that is steep there. A line fitted to such shifts misses introspection questions at the edge of the control baselines,
and what it misses can look like noticing.
"""

import numpy as np
from scipy.special import expit

from introbench.stats.intervals import Array

PULLS = np.concatenate([[0.0], np.geomspace(1e-5, 0.95, 120)])
"""Candidate shares of the way to 1/2 by which probabilities are pulled."""


def pulled_shifts(log_odds: Array, pull: float | Array) -> Array:
    """How far log-odds move, in nats, if probabilities go a share `pull` of the way to 1/2; shapes broadcast."""
    yes, no = (pull / 2 + (1 - pull) * expit(signed) for signed in (log_odds, -log_odds))
    return np.asarray(np.log(yes) - np.log(no) - log_odds)


def fit_pulls(baselines: Array, shifts: Array) -> tuple[Array, Array]:
    """Fit a push of all log-odds and a pull of all probabilities to each unit, by least absolute deviations.

    Args:
        baselines: Log-odds without injection, in nats, [units, questions].
        shifts: How far the injection moves them, in nats, [units, questions].

    Returns:
        Pushes in nats and pulls, each [units]; the pulls are among `PULLS`.
    """
    missed = [shifts - pulled_shifts(baselines, pull) for pull in PULLS]
    pushes = np.median(missed, axis=-1)
    best = np.abs(np.array(missed) - pushes[..., None]).sum(axis=-1).argmin(axis=0)
    return pushes[best, np.arange(len(best))], PULLS[best]
