"""From the shifts of single trials to the experiment's results: means, contrasts and their intervals.

A shift is the log-odds of yes under an injection minus the log-odds under the sham, of the same tokens. Concepts and
questions are both taken for random draws from populations, so that the intervals allow for few of either
(`introbench.stats.two_way_means`); formats and documents are fixed by design. Random vectors are a second population,
with units of its own, that answers the same questions.

Two things that are not introspection move answers as well. A push toward yes raises every answer; flattening pulls
every answer toward even odds, up where it was no and down where it was yes. On a reversed introspection question a no
says that something was noticed, so its shift is counted with the sign turned. Plain and reversed questions are averaged
by themselves first, and count alike, so that a push toward yes cancels in what is noticed.

* A single control family stands beside the introspection questions of one side: always_yes beside the reversed ones,
  every other family beside the plain ones. (Beside both sides its shift would count once with each sign, and cancel.)
  A push toward yes scores 0, flattening does not, unless the baseline log-odds agree.
* `matched controls` is the mean of both sides, each beside the family that has the same answer when nothing was
  injected: always_no beside plain questions, always_yes beside reversed ones.

Questions on what stands out in the text (salience) are no controls: an injected concept may well move them. They have
sides as introspection questions have, on which something stands out, and are averaged in the same way.

Families are compared in the answer formats that all of them are asked in.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from introbench.analysis.balanced_trials import balanced, collapsed, identity
from introbench.analysis.noticed import MATCHED, SIDED, Result, TrialShift
from introbench.prompts.schema import REFERENCE_DOCUMENT, SALIENCE
from introbench.records.factors import Plan
from introbench.stats.intervals import Interval, combination_interval, mean_interval, own_rng
from introbench.stats.simultaneous import hold_together
from introbench.stats.two_way_interval import UnitEstimates
from introbench.stats.two_way_means import (
    QuestionAnswer,
    fewest_questions,
    interval_of_means,
    least_freedom,
    negative,
    unit_means,
    weighted_sum,
)


def mean_shifts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Mean shift for every document and question family.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    return _results(_mean_rows(trials, plan), seed)


def contrasts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """Introspection against every control (question families, documents, random vectors), and against salience.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    return _results(_contrast_rows(trials, plan), seed)


def results_on_wordings(
    trials: Sequence[TrialShift], plan: Plan, *, with_contrasts: bool = False, seed: int = 0
) -> list[Result]:
    """Mean shifts, whose intervals hold for the wordings that were asked: only concepts are taken for a random draw.

    That is what a comparison of two runs of the same trials asks.

    Args:
        trials: All trials of a run.
        plan: What the run set out to ask.
        with_contrasts: Whether contrasts follow the mean shifts.
        seed: Seed of the bootstrap.
    """
    rows = [*_mean_rows(trials, plan), *(_contrast_rows(trials, plan) if with_contrasts else [])]
    of_units = [[sample.values.tolist() for sample in row.samples] for row in rows]
    rngs = [own_rng(seed, row.name, row.document) for row in rows]
    return [
        row.result(combination_interval(samples, rng=rng))
        for row, samples, rng in zip(rows, of_units, rngs, strict=True)
    ]


def control_contrasts(trials: Sequence[TrialShift], plan: Plan, *, seed: int = 0) -> list[Result]:
    """What each kind of control vector does on every family, and how much more the concepts' own do.

    Control vectors are made from a concept's, so that the difference is paired by concept.

    Args:
        trials: All trials of a run, or of the part that has finished.
        plan: What the run set out to ask.
        seed: Seed of the bootstrap.
    """
    rows: list[_Row] = []
    for arm in dict.fromkeys(name for t in trials for name in t.controls):
        under_control = [t.under(t.controls.get(arm, math.nan)) for t in trials]
        beyond_control = [t.under(t.shift - t.controls.get(arm, math.nan)) for t in trials]
        for prefix, shifts, names in (
            (arm, under_control, (*plan.families, MATCHED)),
            (f"concept - {arm}", beyond_control, ("introspection", MATCHED)),
        ):
            of_arm = [*_mean_rows(shifts, plan), *_contrast_rows(shifts, plan)]
            rows += [replace(row, name=f"{prefix}: {row.name}") for row in of_arm if row.name in names]
    return _results(rows, seed)


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
    before = {identity(t): t for t in collapsed(cached)}
    added = [replace(t, shift=t.shift - before[identity(t)].shift) for t in collapsed(active) if identity(t) in before]
    rows = [*_mean_rows(active, plan), *_contrast_rows(active, plan)]
    return _results(
        [
            *(replace(row, name=f"{row.name} (active)") for row in rows),
            *(replace(row, name=f"{row.name}: active - cache") for row in _mean_rows(added, plan)),
        ],
        seed,
    )


@dataclass(frozen=True)
class _Row:
    """One mean or contrast before its intervals are made.

    Attributes:
        name: What is compared with what.
        document: Under which document; empty if documents are compared.
        samples: The units' numbers: one sample, or two with the second one's sign turned; without units if there are no
            pairs.
        pairs: As in `Result`.
        missing: As in `Result`.
    """

    name: str
    document: str
    samples: tuple[UnitEstimates, ...]
    pairs: int
    missing: int

    def result(self, interval: Interval) -> Result:
        """The row's result with an interval."""
        return Result(self.name, self.document, interval, self.pairs, self.missing)


def _results(rows: Iterable[_Row], seed: int) -> list[Result]:
    """The results of one table, each with an interval by itself, and one that holds together with all the others."""
    listed = list(rows)
    intervals = [interval_of_means(row.samples, rng=own_rng(seed, row.name, row.document)) for row in listed]
    widened = hold_together(intervals, [least_freedom(row.samples) for row in listed])
    return [
        replace(row.result(interval), questions=fewest_questions(row.samples), simultaneous=together)
        for row, interval, together in zip(listed, intervals, widened, strict=True)
    ]


def _mean_rows(trials: Sequence[TrialShift], plan: Plan) -> Iterator[_Row]:
    trials = collapsed(trials)
    for document in plan.ordered_documents:
        for family in plan.families_under(document):
            kept, missing = balanced([t for t in trials if t.document == document and t.family == family])
            yield _Row(family, document, (_noticed(kept),), len(kept), missing)


def _contrast_rows(trials: Sequence[TrialShift], plan: Plan) -> Iterator[_Row]:
    trials = collapsed(trials)
    present = plan.ordered_documents
    if "introspection" not in plan.families:
        return
    for document in present:
        families = plan.families_under(document)
        cells = {family: [t for t in trials if t.document == document and t.family == family] for family in families}
        sides = {t.side for t in cells["introspection"]}
        for family in families:
            if family not in SIDED:
                beside = {side_beside(family, sides): family}
                yield _against_controls(f"introspection - {family}", cells, beside, document)
        if {"always_no", "always_yes"} <= set(families):
            yield _against_controls(MATCHED, cells, {1.0: "always_no", -1.0: "always_yes"}, document)
        if SALIENCE in families:
            yield _against_salience(cells, document)
    if REFERENCE_DOCUMENT in present:
        for other in present:
            if other != REFERENCE_DOCUMENT:
                yield _against_document(trials, other)
    if any(t.random for t in trials):
        for document in present:
            yield _against_random(trials, document)


def side_beside(family: str, sides: Collection[float]) -> float:
    """The side of the introspection questions that a control family by itself is compared with.

    Args:
        family: Name of the control family.
        sides: The sides that introspection questions have in a run; the other side is taken if it is the only one.
    """
    side = -1.0 if family == "always_yes" else 1.0
    return side if side in sides or -side not in sides else -side


def _against_controls(
    name: str, cells: Mapping[str, Sequence[TrialShift]], beside: Mapping[float, str], document: str
) -> _Row:
    """Difference in differences, paired within a concept.

    Args:
        name: What to call the result.
        cells: The document's trials by family.
        beside: Which family stands beside plain (+1) and reversed (-1) introspection questions.
        document: The document.
    """
    sides = [side for side in beside if any(t.side == side for t in cells["introspection"])]
    introspection = [t for t in cells["introspection"] if t.side in sides]
    # The control's shift gets the sign of the questions that it stands beside, and sides count alike.
    others = [(-side / len(sides), cells[beside[side]]) for side in sides]
    by_side = [[t for t in introspection if t.side == side] for side in sides]
    return _difference(name, document, introspection, others, asked_in=[*by_side, *(trials for _, trials in others)])


def _against_salience(cells: Mapping[str, Sequence[TrialShift]], document: str) -> _Row:
    """Introspection minus salience, each averaged over the sides that both have."""
    sides = {t.side for t in cells["introspection"]} & {t.side for t in cells[SALIENCE]}
    introspection, salience = ([t for t in cells[family] if t.side in sides] for family in ("introspection", SALIENCE))
    by_side = [[t for t in trials if t.side == side] for trials in (introspection, salience) for side in sides]
    return _difference(f"introspection - {SALIENCE}", document, introspection, [(-1.0, salience)], asked_in=by_side)


def _difference(
    name: str,
    document: str,
    introspection: Sequence[TrialShift],
    others: Sequence[tuple[float, Sequence[TrialShift]]],
    asked_in: Sequence[Sequence[TrialShift]],
) -> _Row:
    """What is noticed on introspection questions plus weighted means of other families, paired by concept.

    Args:
        name: What to call the result.
        document: The document.
        introspection: Trials with introspection questions.
        others: Trials of each other family, with the weight of their mean.
        asked_in: Groups of trials; only formats in which every group is asked are compared.
    """
    formats = {t.answer_format for t in introspection}
    for group in asked_in:
        formats &= {t.answer_format for t in group} or formats
    complete = [
        balanced([t for t in trials if t.answer_format in formats])
        for trials in (introspection, *(trials for _, trials in others))
    ]
    concepts = set.intersection(*({t.concept for t in kept} for kept, _ in complete))
    kept = [[t for t in trials if t.concept in concepts] for trials, _ in complete]
    weights = [1.0, *(weight for weight, _ in others)]
    missing = sum(lost for _, lost in complete) + len(complete[0][0]) - len(kept[0])
    sample = weighted_sum([(weight, _noticed(trials)) for weight, trials in zip(weights, kept, strict=True)])
    return _Row(name, document, (sample,), len(concepts), missing)


def _against_document(trials: Sequence[TrialShift], other: str) -> _Row:
    """The same questions about the same concepts under two documents, paired trial by trial.

    Fewer concepts, questions and formats may be asked under one document than under the other by design, so that what
    was asked under one alone is not missing.
    """
    asked = [
        [t for t in trials if t.document == document and t.family == "introspection"]
        for document in (REFERENCE_DOCUMENT, other)
    ]
    for factor in ("answer_format", "item", "concept"):
        values = [{getattr(t, factor) for t in under_document} for under_document in asked]
        both = values[0] & values[1] or values[0] | values[1]
        asked = [[t for t in under_document if getattr(t, factor) in both] for under_document in asked]
    first, second = ({(t.concept, t.item, t.answer_format): t for t in under_document} for under_document in asked)
    either = {**second, **first}
    differences = [
        replace(trial, shift=first[pair].shift - second[pair].shift if pair in first and pair in second else math.nan)
        for pair, trial in either.items()
    ]
    kept, missing = balanced(differences)
    return _Row(f"{REFERENCE_DOCUMENT} - {other}", "", (_noticed(kept),), len(kept), missing)


def _against_random(trials: Sequence[TrialShift], document: str) -> _Row:
    """Concept vectors against random ones on the same questions: two populations of vectors.

    They are treated as independent, which is on the safe side if a concept and its rotation move alike.
    """
    here = [t for t in trials if t.document == document and t.family == "introspection"]
    complete = [t if not math.isnan(sum(t.random.values())) else replace(t, shift=math.nan) for t in here]
    kept, missing = balanced(complete)
    # A random vector serves several concepts, with the same number each time.
    of_random = [
        QuestionAnswer(vector, t.item, t.side, t.answer_format, noticed)
        for t in kept
        for vector, noticed in t.noticed_under_random.items()
    ]
    samples = (_noticed(kept), negative(unit_means(of_random)))
    return _Row("concept - random vector", document, samples, len(kept), missing)


def _noticed(trials: Iterable[TrialShift]) -> UnitEstimates:
    """What was noticed on average under each concept, on trials that leave every concept with the same questions."""
    return unit_means(QuestionAnswer(t.concept, t.item, t.side, t.answer_format, t.noticed) for t in trials)
