"""What comes to a steered model's mind: does a vector do anything, and is the text still coherent?

Both are judged beside the sham and beside random vectors of the same norm, without a judge that reads. A vector is
`live` at a strength if its concept's words are a larger share of the text than under the sham and under every random
vector. A text is `coherent` if the model, unsteered, does not find it much less likely than its own, and it does not
repeat itself much more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from introbench.coherence import score_text

LEAST_SHARE = 0.02
"""A share of words above the sham's and the random vectors': one word in fifty."""
MOST_LOGPROB_LOST = 1.0
"""Nats per token that a coherent text may be less likely than the sham's, on average."""
MOST_REPETITION = 0.1
"""Share of repeated trigrams by which a coherent text may exceed the sham's."""


@dataclass(frozen=True)
class Texts:
    """Means over the texts of one arm.

    Attributes:
        share: Share of words that belong to the concept.
        repetition: Share of word trigrams that stood in the text before.
        logprob: Log-probability per token under the model as it is, in nats; NaN without text or finite numbers.
    """

    share: float
    repetition: float
    logprob: float


@dataclass(frozen=True)
class Strength:
    """What a concept's vector does at one strength.

    Attributes:
        own: Texts under the concept's vector.
        random: The same measures under random vectors of that norm, on average.
        live: Whether the concept came to mind.
        coherent: Whether the text is still one.
    """

    own: Texts
    random: Texts
    live: bool
    coherent: bool


def measure(texts: Sequence[str], mean_logprobs: Sequence[float | None], concept: str, finite: bool = True) -> Texts:
    """Measures of the texts of one arm; if numbers were not finite, there is no log-probability."""
    scores = [score_text(text, concept) for text in texts]
    known = [value for value in mean_logprobs if value is not None]
    return Texts(
        share=float(np.mean([score.concept_share for score in scores])),
        repetition=float(np.mean([score.repetition for score in scores])),
        logprob=float(np.mean(known)) if known and finite else math.nan,
    )


def judge(sham: Texts, own: Texts, random: Sequence[Texts]) -> Strength:
    """Compare a vector's texts with the sham's and with those of random vectors of the same norm."""
    most = max([sham.share, *(each.share for each in random)])
    mean = Texts(*(np.mean([[e.share, e.repetition, e.logprob] for e in random], axis=0).tolist())) if random else None
    return Strength(
        own=own,
        random=mean or Texts(math.nan, math.nan, math.nan),
        live=own.share >= most + LEAST_SHARE,
        # A comparison with NaN is false: without finite numbers nothing is coherent.
        coherent=own.logprob >= sham.logprob - MOST_LOGPROB_LOST
        and own.repetition <= sham.repetition + MOST_REPETITION,
    )


def by_strength(
    measured: Mapping[str, Texts], strengths: Mapping[str, Sequence[str]], concept: str
) -> dict[str, Strength]:
    """Judge every strength.

    Args:
        measured: Texts' measures by arm; `sham` is one of them.
        strengths: For each strength, as it was asked for, the arm of the concept's vector and those of random ones.
        concept: Not injected in the sham, but looked for there as well.
    """
    return {
        strength: judge(measured["sham"], measured[own], [measured[arm] for arm in random])
        for strength, (own, *random) in strengths.items()
    }
