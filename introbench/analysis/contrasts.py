"""From the shifts of single trials to the experiment's results: means, contrasts and their intervals.

A shift is the log-odds of yes under an injection minus the log-odds under the sham, of the same tokens. Concepts are
the exchangeable units: questions, formats and documents are fixed by design, so they are averaged within a concept
first, and concepts are resampled. Random vectors are a second population with units of its own. Every result is
therefore conditional on the wordings that were asked.

Two things that are not introspection move answers as well. A push toward yes raises every answer; flattening pulls
every answer toward even odds, up where it was no and down where it was yes. On a reversed introspection question a no
says that something was noticed, so its shift is counted with the sign turned, and

* against one control family, the control's shift is given the same signs: the contrast is the mean of
  side x (introspection - control). A mere push toward yes scores 0, flattening does not;
* against `matched controls`, each question is compared with the family that has the same answer when nothing was
  injected: always_no for plain questions, always_yes for reversed ones. A push toward yes scores 0, and so does
  flattening as far as the baseline log-odds agree.

Questions on what stands out in the text (salience) are no controls: an injected concept may well move them. They have
a side as introspection questions have, on which something stands out. Against introspection, plain questions are
compared with plain ones and reversed with reversed ones, so that a push toward yes scores 0.

Families are compared in the answer formats that both are asked in.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from introbench.analysis.noticed import MATCHED, SIDED, Result, TrialShift
from introbench.prompts.schema import REFERENCE_DOCUMENT, SALIENCE
from introbench.records.factors import Plan
from introbench.stats.intervals import Interval, difference_interval, mean_interval, own_rng


def mean_shifts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Mean shift for every document and question family.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    trials = _collapsed(trials)
    results = []
    for document in plan.ordered_documents:
        for family in plan.families_under(document):
            kept, missing = _balanced([t for t in trials if t.document == document and t.family == family])
            means = list(_noticed_by_concept(kept).values())
            results.append(_result((family, document), _paired(means), len(kept), missing, seed))
    return results


def contrasts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Introspection against every control (question families, documents, random vectors), and against salience.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    trials = _collapsed(trials)
    present = plan.ordered_documents
    if "introspection" not in plan.families:
        return []
    results = []
    for document in present:
        families = plan.families_under(document)
        cells = {family: [t for t in trials if t.document == document and t.family == family] for family in families}
        comparisons = {f"introspection - {f}": {1.0: f, -1.0: f} for f in families if f not in SIDED}
        if {"always_no", "always_yes"} <= set(families):
            comparisons[MATCHED] = {1.0: "always_no", -1.0: "always_yes"}
        if SALIENCE in families:
            by_side = {1.0: f"{SALIENCE}, plain", -1.0: f"{SALIENCE}, reversed"}
            for side, name in by_side.items():
                cells[name] = [trial for trial in cells[SALIENCE] if trial.side == side]
            comparisons[f"introspection - {SALIENCE}"] = by_side
        results += [_against_controls(name, cells, beside, document, seed) for name, beside in comparisons.items()]
    if REFERENCE_DOCUMENT in present:
        results += [_against_document(trials, other, seed) for other in present if other != REFERENCE_DOCUMENT]
    if any(t.random for t in trials):
        results += [_against_random(trials, document, seed) for document in present]
    return results


def control_contrasts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """What each kind of control vector does on every family, and how much more the concepts' own do.

    Control vectors are made from a concept's, so that the difference is paired by concept.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    results = []
    for arm in dict.fromkeys(name for t in trials for name in t.controls):
        under_control = [t.under(t.controls.get(arm, math.nan)) for t in trials]
        beyond_control = [t.under(t.shift - t.controls.get(arm, math.nan)) for t in trials]
        results += [
            replace(result, name=f"{arm}: {result.name}")
            for result in (*mean_shifts(under_control, plan, seed=seed), *contrasts(under_control, plan, seed=seed))
            if result.name in (*plan.families, MATCHED)
        ]
        results += [
            replace(result, name=f"concept - {arm}: {result.name}")
            for result in (*mean_shifts(beyond_control, plan, seed=seed), *contrasts(beyond_control, plan, seed=seed))
            if result.name in ("introspection", MATCHED)
        ]
    return results


def document_shift(trials: Sequence[TrialShift], other: str, *, seed: int = 0) -> Interval:
    """How far the reference document by itself moves introspection toward "noticed", against another document.

    From the shams, so that nothing is injected; questions are the units.

    Args:
        trials: All trials of a run.
        other: The document to compare with.
        seed: Seed of the bootstrap.
    """
    baselines: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for t in trials:
        if t.family == "introspection" and math.isfinite(t.baseline):
            baselines[t.document][t.item, t.answer_format] = t.side * t.baseline
    first, second = baselines[REFERENCE_DOCUMENT], baselines[other]
    by_item: dict[str, list[float]] = defaultdict(list)
    for key in sorted(first.keys() & second.keys()):
        by_item[key[0]].append(first[key] - second[key])
    means = [float(np.mean(differences)) for differences in by_item.values()]
    return mean_interval(means, rng=np.random.default_rng(seed))


def active_contrasts(
    cached: Sequence[TrialShift], active: Sequence[TrialShift], plan: Plan, *, seed: int = 0
) -> list[Result]:
    """The same trials steered while the model answers, too: what they say, and how far they are from the cached ones.

    What steering does to an answer directly is noise for the question whether the cached thought was noticed; the
    difference says how much of it there is, in each family.

    Args:
        cached: All trials, steered during the prior turn alone.
        active: The same trials, steered to the end.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    before = {_identity(t): t for t in _collapsed(cached)}
    added = [
        replace(t, shift=t.shift - before[_identity(t)].shift) for t in _collapsed(active) if _identity(t) in before
    ]
    results = [*mean_shifts(active, plan, seed=seed), *contrasts(active, plan, seed=seed)]
    return [
        *(replace(result, name=f"{result.name} (active)") for result in results),
        *(replace(result, name=f"{result.name}: active - cache") for result in mean_shifts(added, plan, seed=seed)),
    ]


def _against_controls(
    name: str, cells: Mapping[str, Sequence[TrialShift]], beside: Mapping[float, str], document: str, seed: int
) -> Result:
    """Difference in differences, paired within a concept.

    Args:
        name: What to call the result.
        cells: The document's trials by family.
        beside: Which family stands beside plain (+1) and reversed (-1) introspection questions.
        document: The document.
        seed: Seed of the bootstrap.
    """
    families = sorted(set(beside.values()))
    formats = {t.answer_format for t in cells["introspection"]}
    for family in families:
        formats &= {t.answer_format for t in cells[family]} or formats
    introspection, missing = _balanced([t for t in cells["introspection"] if t.answer_format in formats])
    toward_yes: dict[tuple[str, str], dict[str, float]] = {}
    for family in families:
        kept, lost = _balanced([t for t in cells[family] if t.answer_format in formats])
        for answer_format in formats:
            toward_yes[family, answer_format] = _means(
                (t.concept, t.shift) for t in kept if t.answer_format == answer_format
            )
        missing += lost
    by_concept: dict[str, list[float]] = defaultdict(list)
    for trial in introspection:
        # In each format beside controls in that format: some control questions are asked in yes and no alone.
        if all(trial.concept in toward_yes[family, trial.answer_format] for family in families):
            control = toward_yes[beside[trial.side], trial.answer_format][trial.concept]
            by_concept[trial.concept].append(trial.noticed - trial.side * control)
        else:
            missing += 1
    differences = [float(np.mean(values)) for values in by_concept.values()]
    return _result((name, document), _paired(differences), len(differences), missing, seed)


def _against_document(trials: Sequence[TrialShift], other: str, seed: int) -> Result:
    """The same questions about the same concepts under two documents, paired trial by trial in the formats of both."""
    formats = [
        {t.answer_format for t in trials if t.document == document and t.family == "introspection"}
        for document in (REFERENCE_DOCUMENT, other)
    ]
    both = formats[0] & formats[1] or formats[0] | formats[1]
    sides = [
        {
            (t.concept, t.item, t.answer_format): t.noticed
            for t in trials
            if t.document == document and t.family == "introspection" and t.answer_format in both
        }
        for document in (REFERENCE_DOCUMENT, other)
    ]
    by_concept: dict[str, list[float]] = defaultdict(list)
    missing = 0
    for pair in dict.fromkeys([*sides[0], *sides[1]]):
        difference = sides[0].get(pair, math.nan) - sides[1].get(pair, math.nan)
        if math.isnan(difference):
            missing += 1
        else:
            by_concept[pair[0]].append(difference)
    means = [float(np.mean(values)) for values in by_concept.values()]
    pairs = sum(map(len, by_concept.values()))
    return _result((f"{REFERENCE_DOCUMENT} - {other}", ""), _paired(means), pairs, missing, seed)


def _against_random(trials: Sequence[TrialShift], document: str, seed: int) -> Result:
    """Concept vectors against random ones on the same questions: two populations of vectors.

    They are treated as independent, which is on the safe side if a concept and its rotation move alike.
    """
    here = [t for t in trials if t.document == document and t.family == "introspection"]
    complete = [t if not math.isnan(sum(t.random.values())) else replace(t, shift=math.nan) for t in here]
    kept, missing = _balanced(complete)
    by_vector: dict[str, dict[str, float]] = defaultdict(dict)
    for trial in kept:  # a random vector serves several concepts, with the same number each time
        for vector, noticed in trial.noticed_under_random.items():
            by_vector[vector][f"{trial.item} {trial.answer_format}"] = noticed
    concept_means = list(_noticed_by_concept(kept).values())
    random_means = [float(np.mean(list(by_question.values()))) for by_question in by_vector.values()]

    def interval(rng: np.random.Generator) -> Interval:
        return difference_interval(concept_means, random_means, rng=rng)

    return _result(("concept - random vector", document), interval, len(kept), missing, seed)


def _balanced(trials: Sequence[TrialShift]) -> tuple[list[TrialShift], int]:
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


def _noticed_by_concept(trials: Iterable[TrialShift]) -> dict[str, float]:
    """What was noticed, as the mean of each concept."""
    return _means((trial.concept, trial.noticed) for trial in trials)


def _means(numbers: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of the numbers of each concept."""
    by_concept: dict[str, list[float]] = defaultdict(list)
    for concept, number in numbers:
        by_concept[concept].append(number)
    return {concept: float(np.mean(values)) for concept, values in by_concept.items()}


def _paired(differences: Sequence[float]) -> Callable[[np.random.Generator], Interval]:
    return lambda rng: mean_interval(differences, rng=rng)


def _result(
    what: tuple[str, str], interval: Callable[[np.random.Generator], Interval], pairs: int, missing: int, seed: int
) -> Result:
    return Result(*what, interval(own_rng(seed, *what)), pairs, missing)


def _collapsed(trials: Iterable[TrialShift]) -> list[TrialShift]:
    """One entry per trial, in an order of its own: repeated epochs are averaged over the finite ones.

    The order in which trials finished must not matter, down to the rounding of sums.
    """
    repeats: dict[tuple[str, str, str, str, str], list[TrialShift]] = defaultdict(list)
    for t in trials:
        repeats[_identity(t)].append(t)
    collapsed = []
    for _, epochs in sorted(repeats.items()):
        finite = sorted((t for t in epochs if not math.isnan(t.shift)), key=lambda t: t.shift) or epochs[:1]
        random, controls = (
            {name: float(np.mean([shifts[name] for shifts in of_epochs])) for name in sorted(of_epochs[0])}
            for of_epochs in ([t.random for t in finite], [t.controls for t in finite])
        )
        shift = float(np.mean([t.shift for t in finite]))
        collapsed.append(replace(finite[0], shift=shift, random=random, controls=controls))
    return collapsed


def _identity(trial: TrialShift) -> tuple[str, str, str, str, str]:
    return trial.document, trial.family, trial.item, trial.answer_format, trial.concept
