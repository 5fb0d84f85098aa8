"""What comes to a steered model's mind: does a vector do anything, and is the text still coherent?

Nobody has to read the texts. A vector is `live` if it makes its concept's word more likely, where the model goes on,
than the sham does and than every random vector of the same norm does. A comparison with the sham alone would say
nothing, because any push of that norm raises rare words; a count of the word would say little, because it turns up in
few texts. Texts are `coherent` if the model without injection does not find them much less likely than those of the
sham, they do not repeat themselves much more, and they are not much shorter: a loop inside a single word is likely, and
repeats no words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.coherence import score_text
from introbench.analysis.noticed import ScoredTrial
from introbench.records.arm_record import number_or_nan
from introbench.records.factors import ContinuationFactors

MOST_LOGPROB_LOST = 1.5
"""Largest loss of log-probability against the sham's texts, in nats per token, at which texts count as coherent."""

MOST_REPETITION = 0.1
"""Largest excess of the share of repeated trigrams over the sham's, likewise."""

LEAST_WORDS = 0.5
"""Smallest number of words, as a share of the sham's, likewise."""


@dataclass(frozen=True)
class Texts:
    """Means over the texts of one arm.

    Attributes:
        share: Share of words that belong to the concept.
        repetition: Share of word trigrams that repeat an earlier one.
        words: How many words a text has.
        logprob: Log-probability per token to the model without injection, in nats; NaN without text or finite numbers.
    """

    share: float
    repetition: float
    words: float
    logprob: float


@dataclass(frozen=True)
class VectorEffect:
    """What a concept's vector does at one strength.

    Attributes:
        texts: Measures of the texts under the concept's vector.
        random_texts: The same under random vectors of that norm, on average.
        gain: Log-probability of the concept's word where the model goes on, minus the sham's, in nats.
        random_gain: The largest gain under a random vector of that norm; NaN without any.
        live: Whether the concept comes to mind.
        coherent: Whether the texts are still coherent.
    """

    texts: Texts
    random_texts: Texts
    gain: float
    random_gain: float
    live: bool
    coherent: bool


def is_live(word: float, others: Sequence[float]) -> bool | None:
    """Whether a concept's word is more likely under its vector than under the sham and all random vectors.

    A vector that does no more than n random vectors passes this once in n + 1 times.

    Args:
        word: Log-probability of the word under the concept's vector, in nats.
        others: The same under the sham and under random vectors; those that are not finite are left out.

    Returns:
        None if there is no finite number to compare with.
    """
    finite = [other for other in others if math.isfinite(other)]
    return word > max(finite) if finite and math.isfinite(word) else None


def measure(texts: Sequence[str], mean_logprobs: Sequence[float | None], concept: str, finite: bool = True) -> Texts:
    """Measures of the texts of one arm.

    Args:
        texts: The texts.
        mean_logprobs: For each text the mean log-probability of its tokens to the model without injection, in nats;
            None if it is empty.
        concept: The concept whose words are counted.
        finite: Whether the model's numbers were finite throughout; if not, there is no log-probability.
    """
    scores = [score_text(text, concept) for text in texts]
    known = [value for value in mean_logprobs if value is not None]
    return Texts(
        share=float(np.mean([score.concept_share for score in scores])),
        repetition=float(np.mean([score.repetition for score in scores])),
        words=float(np.mean([score.words for score in scores])),
        logprob=float(np.mean(known)) if known and finite else math.nan,
    )


def judge(sham: Texts, injected: Texts, random: Sequence[Texts], gains: Sequence[float]) -> VectorEffect:
    """Compare a vector at one strength with the sham and with random vectors of the same norm.

    Args:
        sham: The sham's texts.
        injected: The texts under the concept's vector.
        random: The texts under each random vector.
        gains: By how many nats the concept's word is likelier than under the sham: under its vector, then under each
            random vector.
    """
    measures = [[texts.share, texts.repetition, texts.words, texts.logprob] for texts in random] or [[math.nan] * 4]
    gain, *random_gains = gains
    return VectorEffect(
        texts=injected,
        random_texts=Texts(*np.mean(measures, axis=0).tolist()),
        gain=gain,
        random_gain=max((random_gain for random_gain in random_gains if math.isfinite(random_gain)), default=math.nan),
        live=bool(is_live(gain, [0.0, *random_gains])),
        # A comparison with NaN is false: without finite numbers nothing is coherent.
        coherent=injected.logprob >= sham.logprob - MOST_LOGPROB_LOST
        and injected.repetition <= sham.repetition + MOST_REPETITION
        and injected.words >= LEAST_WORDS * sham.words,
    )


def judged_strengths(exact: Mapping[str, Any]) -> dict[str, VectorEffect]:
    """What a score's metadata say about every strength; empty if the model wrote nothing."""
    return judged_by_strength(exact) if exact else {}


def judged_by_strength(exact: Mapping[str, Any]) -> dict[str, VectorEffect]:
    """What the exact numbers in a score's metadata say about every strength."""
    measured = {arm: Texts(*map(number_or_nan, values)) for arm, values in exact["measured"].items()}
    return {
        strength: judge(
            measured["sham"],
            measured[concept],
            [measured[arm] for arm in random],
            [number_or_nan(gain) for gain in exact["gains"][strength]],
        )
        for strength, (concept, *random) in exact["strengths"].items()
    }


@dataclass(frozen=True)
class Written:
    """What a model goes on to write under a vector, its opposite, or nothing.

    Attributes:
        strength: At which strength.
        under: "sham", "+" for the vector, or "-" for its opposite.
        gain: Log-probability of the concept's word where the model goes on, minus the sham's, in nats.
        texts: Measures of the texts.
        text: The first of them.
    """

    strength: str
    under: str
    gain: float
    texts: Texts
    text: str


def beside_opposites(exact: Mapping[str, Any]) -> list[Written]:
    """The texts under the sham, a vector and its opposite at every strength; empty where no opposite was run."""
    rows = []
    for strength, opposite in exact.get("opposites", {}).items():
        gains = (0.0, exact["gains"][strength][0], exact["opposite_gains"][strength])
        arms = ("sham", exact["strengths"][strength][0], opposite)
        for under, arm, gain in zip(("sham", "+", "-"), arms, gains, strict=True):
            texts = Texts(*map(number_or_nan, exact["measured"][arm]))
            rows.append(Written(strength, under, number_or_nan(gain), texts, exact["texts"][arm]))
    return rows


def reference_effects(trials: Sequence[ScoredTrial]) -> list[tuple[str, VectorEffect]]:
    """What every concept's vector does at the reference strength; without concepts whose texts were not written.

    Args:
        trials: For each concept its sample's metadata and its score's.
    """
    read = [(ContinuationFactors.from_json(metadata), judged_strengths(exact)) for metadata, exact in trials]
    return [(factors.concept, judged[factors.reference]) for factors, judged in read if judged]
