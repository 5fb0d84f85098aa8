"""Sampled answers beside the log-odds of the same model, and where the two disagree."""

from collections.abc import Sequence

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sampled_detection import ANY_VECTOR, DETECTS, results
from introbench.stats.intervals import Interval

LOG_ODDS = "yes_shift"
"""Name of the scorer of the task that measures log-odds."""


def beside_log_odds(trials: Sequence[ScoredTrial], others: Sequence[tuple[str, IntrospectionRun]]) -> list[str]:
    """What the log-odds of a model say beside its sampled answers, a line for each log.

    Args:
        trials: The trials of the sampled answers.
        others: The name of each log of log-odds of the same model, and what it found.
    """
    found = results(trials)
    lines = []
    for name, run in others:
        if run.headline is None or not found:
            continue
        excess = run.headline.fit.excess
        document = run.plan.ordered_documents[0]
        for result in found if not found[0].forced else []:
            sampled = result.verdict in (DETECTS, ANY_VECTOR)
            lines.append(
                f"Log-odds of the same model ({name}, document {document}): excess {excess.estimate:+.2f} "
                f"[{excess.low:+.2f}, {excess.high:+.2f}] nats. {_comparison(sampled, excess, result.protocol)}"
            )
    return lines


def _comparison(sampled: bool, excess: Interval, protocol: str) -> str:
    """How the two agree, or in which direction they do not."""
    with_answers = f"the sampled answers ({protocol})"
    if sampled and excess.low > 0:
        return f"Both say that injections are noticed: {with_answers} as well."
    if sampled:
        below = " and is below 0" if excess.high < 0 else ""
        return (
            f"They disagree: {with_answers} claim more with an injection, while the log-odds show no excess over "
            f"control questions{below}; the answers show more."
        )
    if excess.low > 0:
        return (
            f"They disagree: the log-odds show an excess over control questions, while {with_answers} claim no more "
            f"with an injection; the log-odds show more."
        )
    return f"Neither shows that injections are noticed: {with_answers} do not either."
