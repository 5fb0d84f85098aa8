"""Two evaluations of the same trials, compared trial by trial.

The difference of a trial's value is taken first; from there on differences are what shifts are to
`introbench.analysis.contrasts`: averaged within a concept, with concepts as the units of the interval. A wording that
moves every model, or a concept that is easy, cancels. Contrasts are sums of means, so that the contrast of the
differences is the difference of the contrasts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from introbench.analysis.contrasts import contrasts, mean_shifts
from introbench.analysis.shifts import Result, TrialShift
from introbench.errors import InputError
from introbench.records.factors import Plan, QuestionFactors
from introbench.regression.baseline import Record
from introbench.report.text import interval_text, number_text
from introbench.stats.intervals import Interval


@dataclass(frozen=True)
class Change:
    """How a mean, or a contrast, differs between two evaluations.

    Attributes:
        metric: Of the trials.
        name: The question family, or the contrast.
        document: Under which document; empty if documents are compared.
        before: In the first evaluation, over the trials that both have.
        now: In the second one.
        difference: now - before, with its 95% interval.
        pairs: Number of pairs.
        missing: Number of trials that belong to it and have no finite value in both.
    """

    metric: str
    name: str
    document: str
    before: float
    now: float
    difference: Interval
    pairs: int
    missing: int

    @property
    def is_known(self) -> bool:
        """Whether there is an interval: it takes two units with finite numbers on both sides."""
        return not math.isnan(self.difference.low)

    def exceeds(self, budget: float) -> bool:
        """Whether the change is shown to be larger than a budget: its whole interval lies beyond it."""
        return self.difference.low > budget or self.difference.high < -budget

    def is_within(self, budget: float) -> bool:
        """Whether the change is shown to be no larger than a budget: its whole interval lies within it."""
        return -budget <= self.difference.low and self.difference.high <= budget

    def row(self, budget: float | None) -> list[str]:
        """What a table shows, column by column as in `HEADERS`."""
        return [
            self.metric,
            self.document,
            self.name,
            number_text(self.before),
            number_text(self.now),
            number_text(self.difference.estimate),
            interval_text(self.difference),
            "" if budget is None else self._said(budget),
            str(self.missing or ""),
        ]

    def _said(self, budget: float) -> str:
        if not self.is_known:
            return "not known"
        if self.exceeds(budget):
            return f"CHANGED by more than {budget:g}"
        return f"within {budget:g}" if self.is_within(budget) else "undecided"


WITHOUT_INJECTION = ("log_odds",)
"""Metrics of a question with nothing injected. There is nothing to be sampled: they are what they are, so that their
interval is a point. They count with the sign of the question, toward "noticed", as shifts do already."""
SHARED = ("random",)
"""Metrics that concepts share: two or three have the same random vectors, so that they are no units, and nothing is
known of how far their mean may be off."""
HEADERS = ("metric", "document", "of", "baseline", "now", "difference", "95% interval", "verdict", "missing")


def require_same_trials(before: Record, now: Record) -> None:
    """Refuse to compare what cannot be compared.

    Raises:
        InputError: Something else was asked; it says what.
    """
    if before.digest != now.digest:
        raise InputError(
            f"trials of {now.task} with digest {now.digest}: expected those of the baseline, {before.digest}; "
            f"{'; '.join(before.differences(now))}; run the same, or make the baseline anew"
        )


def partner(record: Record, others: Sequence[Record]) -> Record | None:
    """The evaluation to compare one with.

    Args:
        record: The one.
        others: Those of the other side.

    Returns:
        One of the same trials, if there is one, and of several that with the same arguments, and so the same random
        vectors; else one of the same task, whose differences can be named; None if there is no such task.
    """
    return max(
        (each for each in others if each.task == record.task),
        key=lambda each: (each.digest == record.digest, each.arguments == record.arguments),
        default=None,
    )


def changes(before: Record, now: Record, metric: str = "shift", *, with_contrasts: bool = False) -> list[Change]:
    """What differs between two evaluations of the same trials, by document and question family.

    Args:
        before: The first one.
        now: The second one.
        metric: Which value of the trials.
        with_contrasts: Whether contrasts between families and documents follow the means.

    Raises:
        InputError: The trials are not the same, or have no such value.
    """
    require_same_trials(before, now)
    for record in (before, now):
        if metric not in record.metrics:
            raise InputError(f"metric {metric!r}: expected one of {', '.join(record.metrics)}; correct it")
    plan = Plan(before.plan["documents"], before.plan["families"])
    pairs = [
        (
            _trial(before, question, concept),
            _toward_yes(before, question, metric) * values[metric],
            _toward_yes(now, question, metric) * now.trials[question][concept][metric],
        )
        for question, concepts in before.trials.items()
        for concept, values in concepts.items()
    ]
    # A trial that one side lacks is left out of both.
    kept = [(trial, first, second) for trial, first, second in pairs if not math.isnan(first + second)]
    lost = [trial for trial, first, second in pairs if math.isnan(first + second)]
    firsts, seconds, differences = (
        _means([*(replace(trial, shift=value) for trial, value in side), *lost], plan, with_contrasts)
        for side in (
            [(trial, first) for trial, first, _ in kept],
            [(trial, second) for trial, _, second in kept],
            [(trial, second - first) for trial, first, second in kept],
        )
    )
    return [
        Change(
            metric=metric,
            name=difference.name,
            document=difference.document,
            before=first.interval.estimate,
            now=second.interval.estimate,
            difference=_with_ends(difference.interval, metric),
            pairs=difference.pairs,
            missing=difference.missing,
        )
        for first, second, difference in zip(firsts, seconds, differences, strict=True)
        if difference.pairs or difference.missing
    ]


def worst_trials(before: Record, now: Record, found: Sequence[Change], count: int = 5) -> list[str]:
    """The trials that changed most, a line each.

    Args:
        before: The first evaluation.
        now: The second one.
        found: Changes of one metric; trials of these families and documents are listed.
        count: How many.
    """
    cells = {(change.name, change.document) for change in found}
    metrics = {change.metric for change in found}
    moved = []
    for question, concepts in before.trials.items():
        factors = before.questions[question]
        if (factors["family"], factors["document"]) in cells:
            for concept, values in concepts.items():
                for metric in metrics:
                    first, second = values[metric], now.trials[question][concept][metric]
                    if not math.isnan(first + second):
                        moved.append((abs(second - first), f"{question}.{concept}", metric, first, second))
    return [
        f"{name}: {metric} {first:+.3f} -> {second:+.3f}"
        for _, name, metric, first, second in sorted(moved, reverse=True)[:count]
    ]


def changes_table(found: Sequence[Change], budget: float | None = None) -> str:
    """Plain-text table of changes.

    Args:
        found: The changes.
        budget: Largest change that is put up with; without one no verdict is shown.
    """
    return rows_table([change.row(budget) for change in found])


def rows_table(rows: Sequence[Sequence[str]]) -> str:
    """Plain-text table of what `Change.row` gave; columns that are empty throughout are left out."""
    used = [at for at in range(len(HEADERS)) if any(row[at] for row in rows)]
    return tabulate(
        [[row[at] for at in used] for row in rows],
        [HEADERS[at] for at in used],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if HEADERS[at] in ("metric", "document", "of", "verdict") else "right" for at in used],
    )


def _with_ends(interval: Interval, metric: str) -> Interval:
    if metric in WITHOUT_INJECTION:
        return replace(interval, low=interval.estimate, high=interval.estimate)
    return interval.without_ends if metric in SHARED else interval


def _toward_yes(record: Record, question: str, metric: str) -> float:
    """What a value is multiplied with, so that yes is positive: records hold log-odds of yes, and what was noticed."""
    return 1.0 if metric in WITHOUT_INJECTION else QuestionFactors.from_json(record.questions[question]).side


def _trial(record: Record, question: str, concept: str) -> TrialShift:
    """A trial, as yet without a value."""
    factors = QuestionFactors.from_json(record.questions[question])
    return TrialShift(
        document=factors.document,
        family=factors.family,
        item=factors.question,
        answer_format=factors.answer_format,
        answer_kind=factors.answer_kind,
        concept=concept,
        side=factors.side,
        shift=math.nan,
        random={},
    )


def _means(trials: Sequence[TrialShift], plan: Plan, with_contrasts: bool) -> list[Result]:
    return [*mean_shifts(trials, plan), *(contrasts(trials, plan) if with_contrasts else [])]


def all_changes(before: Record, now: Record, metrics: Sequence[str] | None = None) -> list[Change]:
    """Everything that a person may want to know of a change.

    Args:
        before: The first evaluation.
        now: The second one.
        metrics: Which values of the trials; by default the main one, with contrasts, and the answers without injection.

    Raises:
        InputError: The trials are not the same, or have no such value.
    """
    usual = [before.main_metric, *(each for each in WITHOUT_INJECTION if each in before.metrics)]
    return [
        change
        for metric in metrics or usual
        for change in changes(before, now, metric, with_contrasts=metric == before.main_metric == "shift")
    ]


def comparison(before: Record, now: Record, found: Sequence[Change], budget: float | None = None) -> str:
    """All that two evaluations of the same trials say about a change, as text.

    Args:
        before: The first one.
        now: The second one.
        found: What changed.
        budget: Largest change that is put up with; without one no verdict is shown.
    """
    told = [
        f"{now.task}, {sum(map(len, now.trials.values()))} trials, digest {now.digest}",
        *(f"{name}: {first} -> {second}" for name, first, second in _facts(before, now) if first != second),
        *([f"verdict: {now.verdict}, as before"] if now.verdict and now.verdict == before.verdict else []),
    ]
    worst = worst_trials(before, now, [change for change in found if change.metric == found[0].metric])
    return "\n\n".join(
        [
            "\n".join(told),
            changes_table(found, budget),
            "\n".join(["Trials that changed most:", *worst]),
            "Differences are taken trial by trial; their 95% intervals are over concepts, each by itself.\n"
            "log_odds are those of the answer with nothing injected, toward 'noticed': exact, without an interval.",
        ]
    )


def _facts(before: Record, now: Record) -> Iterator[tuple[str, object, object]]:
    """What both say about themselves, by name."""
    yield "verdict", before.verdict, now.verdict
    yield "model", before.model, now.model
    yield "revision", before.revision, now.revision
    yield "made", before.made, now.made
    for name, first, second in (
        ("", before.settings, now.settings),
        ("", before.versions, now.versions),
        ("argument ", before.arguments, now.arguments),
    ):
        for key in sorted(first.keys() | second.keys()):
            yield name + key, first.get(key, "not given"), second.get(key, "not given")
