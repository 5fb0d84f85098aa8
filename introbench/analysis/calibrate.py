"""Dose and response: what every strength does, and which strength to propose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.top_of_mind import judged_strengths
from introbench.records.arm_record import number_or_nan

MOST_INCOHERENT = 0.25
"""Largest share of the vectors whose texts may be incoherent at a strength that is proposed."""


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


def responses(scores: Sequence[Mapping[str, Any]]) -> list[Response]:
    """What every strength does, in the order in which they were tried.

    Args:
        scores: The metadata of each concept's score; empty where nothing was written.
    """
    exact = [score for score in scores if score]
    judged = [judged_strengths(score) for score in exact]
    results = []
    for strength in judged[0] if judged else ():
        effects = [strengths[strength] for strengths in judged]
        results.append(
            Response(
                strength,
                tuple(number_or_nan(score["norms"][strength]) for score in exact),
                tuple(number_or_nan(score["doses"][strength]) for score in exact),
                sum(effect.live for effect in effects),
                sum(effect.coherent for effect in effects),
                float(np.mean([effect.gain for effect in effects])),
            )
        )
    return results


def proposed(responses: Sequence[Response]) -> Response | None:
    """The largest strength up to which all are usable and at which a vector is live; None if there is none."""
    best = None
    for response in sorted(responses, key=lambda response: abs(float(np.mean(response.norms)))):
        if not response.is_usable:
            break
        if response.live:
            best = response
    return best
