"""Trials with which concepts can be compared: repeats averaged, and every concept left with the same questions."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

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
        averaged.append(finite[0] if len(finite) == 1 else _mean_of(finite))
    return averaged


def _mean_of(repeats: Sequence[TrialShift]) -> TrialShift:
    """One entry for several repeats of a trial."""

    def by_name(shifts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: fmean(of_repeat[name] for of_repeat in shifts) for name in shifts[0]}

    return replace(
        repeats[0],
        shift=fmean(t.shift for t in repeats),
        random=by_name([t.random for t in repeats]),
        random_by_norm=by_name([t.random_by_norm for t in repeats]),
        controls=by_name([t.controls for t in repeats]),
    )


def identity(trial: TrialShift) -> tuple[str, str, str, str, str]:
    """What trials have in common that are repeats of each other."""
    return trial.document, trial.family, trial.item, trial.answer_format, trial.concept
