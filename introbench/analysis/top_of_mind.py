"""What comes to a steered model's mind: does a vector do anything, and is the text still coherent?

Nobody has to read the texts. A vector is `live` if it makes its concept's word more likely, where the model goes on,
than the sham does and than every random vector of the same norm does. (Any push of that norm raises rare words, so that
more than the sham alone says nothing; and the word turns up in few texts, so that counting it says little.) Texts are
`coherent` if the model as it is does not find them much less likely than those of the sham, they do not repeat
themselves much more, and they are not much shorter: a loop inside a single word is likely, and repeats no words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.coherence import score_text

MOST_LOGPROB_LOST = 1.5
"""Nats per token that coherent texts may be less likely than the sham's, on average."""

MOST_REPETITION = 0.1
"""Share of repeated trigrams by which coherent texts may exceed the sham's."""

LEAST_WORDS = 0.5
"""Words of coherent texts, as a share of the sham's."""


@dataclass(frozen=True)
class Texts:
    """Means over the texts of one arm.

    Attributes:
        share: Share of words that belong to the concept.
        repetition: Share of word trigrams that stood in the text before.
        words: How many words a text has.
        logprob: Log-probability per token under the model as it is, in nats; NaN without text or finite numbers.
    """

    share: float
    repetition: float
    words: float
    logprob: float


@dataclass(frozen=True)
class Strength:
    """What a concept's vector does at one strength.

    Attributes:
        own: Texts under the concept's vector.
        random: The same measures under random vectors of that norm, on average.
        gain: Log-probability of the concept's word where the model goes on, over the sham's, in nats.
        random_gain: The largest gain under a random vector of that norm; NaN without any.
        live: Whether the concept comes to mind.
        coherent: Whether the texts are still some.
    """

    own: Texts
    random: Texts
    gain: float
    random_gain: float
    live: bool
    coherent: bool


def is_live(word: float, others: Sequence[float]) -> bool | None:
    """Whether a word is more likely under its vector than under the sham and all random vectors.

    With n random vectors, one that does nothing of its own passes once in n + 1 times.

    Returns:
        None if there is no finite number to compare with.
    """
    finite = [other for other in others if math.isfinite(other)]
    return word > max(finite) if finite and math.isfinite(word) else None


def measure(texts: Sequence[str], mean_logprobs: Sequence[float | None], concept: str, finite: bool = True) -> Texts:
    """Measures of the texts of one arm; if numbers were not finite, there is no log-probability."""
    scores = [score_text(text, concept) for text in texts]
    known = [value for value in mean_logprobs if value is not None]
    return Texts(
        share=float(np.mean([score.concept_share for score in scores])),
        repetition=float(np.mean([score.repetition for score in scores])),
        words=float(np.mean([score.words for score in scores])),
        logprob=float(np.mean(known)) if known and finite else math.nan,
    )


def judge(sham: Texts, own: Texts, random: Sequence[Texts], gains: Sequence[float]) -> Strength:
    """Compare a vector at one strength with the sham and with random vectors of the same norm.

    Args:
        sham: The sham's texts.
        own: Those under the concept's vector.
        random: Those under each of some random vectors.
        gains: How much likelier than under the sham the concept's word is: under its vector, then under random ones.
    """
    rows = [[each.share, each.repetition, each.words, each.logprob] for each in random] or [[math.nan] * 4]
    gain, *by_chance = gains
    return Strength(
        own=own,
        random=Texts(*np.mean(rows, axis=0).tolist()),
        gain=gain,
        random_gain=max((each for each in by_chance if math.isfinite(each)), default=math.nan),
        live=bool(is_live(gain, [0.0, *by_chance])),
        # A comparison with NaN is false: without finite numbers nothing is coherent.
        coherent=own.logprob >= sham.logprob - MOST_LOGPROB_LOST
        and own.repetition <= sham.repetition + MOST_REPETITION
        and own.words >= LEAST_WORDS * sham.words,
    )


def judged_strengths(exact: Mapping[str, Any]) -> dict[str, Strength]:
    """What a score's metadata say about every strength; nothing, where nothing was written."""
    return judged_by_strength(exact) if exact else {}


def judged_by_strength(exact: Mapping[str, Any]) -> dict[str, Strength]:
    """What a score's exact numbers say about every strength."""
    measured = {arm: Texts(*map(number, values)) for arm, values in exact["measured"].items()}
    return {
        strength: judge(
            measured["sham"],
            measured[own],
            [measured[arm] for arm in random],
            [number(gain) for gain in exact["gains"][strength]],
        )
        for strength, (own, *random) in exact["strengths"].items()
    }


def number(value: float | None) -> float:
    """A recorded number; records hold None in place of those that are not finite."""
    return math.nan if value is None else float(value)
