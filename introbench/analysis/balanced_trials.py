"""Trials with which concepts can be compared: repeats averaged, and every concept left with the same questions."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from introbench.analysis.noticed import TrialShift


def balanced(trials: Sequence[TrialShift]) -> tuple[list[TrialShift], int]:
    """The trials of one cell that leave every concept with the same questions, and how many were lost or left out.

    A question that is missing for one concept would otherwise shift that concept's mean by what is peculiar to the
    question. A concept without any finite trial is left out first, so that it does not take the others with it.
    """
    finite = [t for t in trials if not math.isnan(t.shift)]
    concepts = {t.concept for t in finite}
    answered: dict[tuple[str, str], set[str]] = defaultdict(set)
    for trial in finite:
        answered[trial.item, trial.answer_format].add(trial.concept)
    kept = [t for t in finite if answered[t.item, t.answer_format] == concepts]
    expected = len({t.concept for t in trials}) * len({(t.item, t.answer_format) for t in trials})
    return kept, expected - len(kept)


def collapsed(trials: Iterable[TrialShift]) -> list[TrialShift]:
    """One entry per trial, in an order of its own: repeated epochs are averaged over the finite ones.

    The order in which trials finished must not matter, down to the rounding of sums.
    """
    repeats: dict[tuple[str, str, str, str, str], list[TrialShift]] = defaultdict(list)
    for t in trials:
        repeats[identity(t)].append(t)
    averaged = []
    for _, epochs in sorted(repeats.items()):
        finite = sorted((t for t in epochs if not math.isnan(t.shift)), key=lambda t: t.shift) or epochs[:1]
        random, random_by_norm, controls = (
            {name: float(np.mean([shifts[name] for shifts in of_epochs])) for name in sorted(of_epochs[0])}
            for of_epochs in (
                [t.random for t in finite],
                [t.random_by_norm for t in finite],
                [t.controls for t in finite],
            )
        )
        shift = float(np.mean([t.shift for t in finite]))
        averaged.append(
            replace(finite[0], shift=shift, random=random, random_by_norm=random_by_norm, controls=controls)
        )
    return averaged


def identity(trial: TrialShift) -> tuple[str, str, str, str, str]:
    """What trials have in common that are repeats of each other."""
    return trial.document, trial.family, trial.item, trial.answer_format, trial.concept
