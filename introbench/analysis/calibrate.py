"""Dose and response: what each strength does, and which strength to propose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from inspect_ai.scorer import Score

from introbench.analysis.top_of_mind import judged_strengths, number

MOST_INCOHERENT = 0.25
"""Share of the vectors whose texts may be incoherent at a strength that is proposed."""


@dataclass(frozen=True)
class Response:
    """What a strength does, over all concepts' vectors.

    Attributes:
        strength: The strength as it was asked for.
        norms: The norm of what each vector adds at each layer.
        doses: The dose of each vector, in nats; NaN where numbers are not finite.
        live: How many vectors are live.
        coherent: How many vectors' texts are coherent.
        gain: How much likelier the concepts' words become, in nats, on average.
    """

    strength: str
    norms: tuple[float, ...]
    doses: tuple[float, ...]
    live: int
    coherent: int
    gain: float

    @property
    def is_usable(self) -> bool:
        """Whether texts are still coherent under enough of the vectors."""
        return len(self.doses) - self.coherent <= MOST_INCOHERENT * len(self.doses)


def responses(scores: Sequence[Score]) -> list[Response]:
    """What every strength does, from the scores of all concepts, in the order in which they were tried."""
    known = [score for score in scores if score.metadata]
    judged = [judged_strengths(score) for score in known]
    found = []
    for strength in judged[0] if judged else ():
        each = [strengths[strength] for strengths in judged]
        exact = [score.metadata or {} for score in known]
        found.append(
            Response(
                strength,
                tuple(number(one["norms"][strength]) for one in exact),
                tuple(number(one["doses"][strength]) for one in exact),
                sum(one.live for one in each),
                sum(one.coherent for one in each),
                float(np.mean([one.gain for one in each])),
            )
        )
    return found


def proposed(found: Sequence[Response]) -> Response | None:
    """The strength to take: the largest dose up to which all are usable, and at least one vector is live; else None."""
    best = None
    for each in sorted(found, key=lambda response: abs(float(np.mean(response.norms)))):
        if not each.is_usable:
            break
        if each.live:
            best = each
    return best
