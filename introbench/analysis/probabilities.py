"""Mean probabilities of yes and no without and with an injection: the numbers that the published study reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from introbench.analysis.noticed import SIDED, ReadTrial
from introbench.records.arm import SHAM


@dataclass(frozen=True)
class MeanProbabilities:
    """Mean probabilities of a kind of question under a document, over the trials with finite numbers.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        is_reversed: Whether a no says that something was noticed or stands out; false for control questions.
        trials: Number of trials.
        yes: P(yes) without and with the injection.
        no: P(no) likewise.
    """

    document: str
    family: str
    is_reversed: bool
    trials: int
    yes: tuple[float, float]
    no: tuple[float, float]


def mean_probabilities(trials: Sequence[ReadTrial], arm: str = "") -> list[MeanProbabilities]:
    """The means of every document, the reference document first, of every family, and of each side of its questions.

    Args:
        trials: The factors of each trial and its exact numbers.
        arm: The arm whose injection is meant; the first after the sham by default.
    """
    if not trials:
        return []
    groups: dict[tuple[str, str, bool], list[tuple[float, ...]]] = {}
    plan = trials[0][0].plan
    for factors, exact in trials:
        question = factors.question
        sham = next(name for name, each in factors.arms.items() if each.kind == SHAM)
        injected = arm or next(name for name, each in factors.arms.items() if each.kind != SHAM)
        numbers = [exact.get(what, {}).get(name) for what in ("p_yes", "p_no") for name in (sham, injected)]
        if all(number is not None and math.isfinite(number) for number in numbers):
            is_reversed = question.reversed and question.family in SIDED
            groups.setdefault((question.document, question.family, is_reversed), []).append(tuple(numbers))
    means = []
    for document in plan.ordered_documents:
        for family in plan.families_under(document):
            for is_reversed in (False, True):
                group = groups.get((document, family, is_reversed))
                if group:
                    yes, yes_injected, no, no_injected = np.mean(group, axis=0).tolist()
                    means.append(
                        MeanProbabilities(
                            document, family, is_reversed, len(group), (yes, yes_injected), (no, no_injected)
                        )
                    )
    return means
