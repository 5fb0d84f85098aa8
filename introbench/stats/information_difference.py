"""Whether vectors of one kind make answers differ more from each other than vectors of another kind do.

Vectors without any content may shift answers, each in its own way, and answers that differ carry information about
which vector was injected. The information about concepts is therefore held against the information about random
vectors that disturb as much. Each concept has a random vector of its own, and if concepts' vectors are like random
ones, it makes no difference which of the two is called the concept's. The test exchanges the two for any number of
concepts (a permutation test for pairs, Fisher 1935), with vectors as units: however many questions are asked, the
difference may be one of these few vectors.
"""

import math
from dataclasses import dataclass

import numpy as np

from introbench.stats.information import ROUNDING, bits_of_answers
from introbench.stats.intervals import Array

MOST_EXCHANGES = 4096
"""Up to so many exchanges are made in full; of more, so many are drawn at random."""


@dataclass(frozen=True)
class InformationDifference:
    """How many more bits there are about vectors of the first kind.

    Attributes:
        plug_in: Difference of the information at face value, in bits.
        p_value: One-sided, under the null that the two vectors of each pair are exchangeable.
        smallest_p: The smallest p-value that so few pairs can give.
    """

    plug_in: float
    p_value: float
    smallest_p: float


def information_difference(first: Array, second: Array, *, rng: np.random.Generator) -> InformationDifference:
    """Compare the information in the mean answers under two kinds of vectors.

    Args:
        first: Probabilities under vectors of the first kind, [orders, vectors, options].
        second: The same under vectors of the second kind, each the partner of one of the first, in the same order.
        rng: Source of randomness, seeded by the caller; used where there are more than `MOST_EXCHANGES` exchanges.

    Raises:
        ValueError: The two have not the same shape.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(
            f"expected two tables [orders, vectors, options] of one shape, got {first.shape}, {second.shape}"
        )
    means = np.stack([first.mean(axis=0), second.mean(axis=0)])
    pairs = means.shape[1]
    if 2**pairs <= MOST_EXCHANGES:
        exchanged = (np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1
    else:
        exchanged = rng.integers(0, 2, (MOST_EXCHANGES, pairs))
        exchanged[0] = 0  # what was observed is one of them
    here = np.arange(pairs)
    differences = bits_of_answers(means[exchanged, here]) - bits_of_answers(means[1 - exchanged, here])
    as_large = int(np.count_nonzero(differences >= differences[0] - ROUNDING))
    return InformationDifference(float(differences[0]), as_large / len(exchanged), 1 / len(exchanged))


def pairs_needed(p_value: float) -> int:
    """The fewest pairs with which a p-value can be so small."""
    return math.ceil(-math.log2(p_value))
