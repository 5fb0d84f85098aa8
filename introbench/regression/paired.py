"""Two evaluations of the same trials, compared trial by trial.

The difference is taken for every trial. Differences are then averaged and contrasted as shifts are
(`introbench.analysis.contrasts`): the mean is taken within each concept, and concepts are the units of the interval.
Effects of a wording or a concept that both evaluations share cancel in the differences. What a change does to single
wordings does not cancel, so that an interval holds for the wordings that were asked, and for no others. Contrasts are
sums of means, so that the contrast of the differences is the difference of the contrasts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from introbench.analysis.contrasts import results_on_wordings
from introbench.analysis.noticed import TrialShift
from introbench.errors import InputError, printable
from introbench.records.factors import Plan, QuestionFactors
from introbench.regression.baseline import Record
from introbench.report.text import interval_text, number_text
from introbench.stats.intervals import Interval


@dataclass(frozen=True)
class Change:
    """The change of a mean, or of a contrast, between two evaluations.

    Attributes:
        metric: Name of the trials' value.
        name: Name of the question family, or of the contrast.
        document: Name of the document; empty if documents are contrasted.
        before: The mean or contrast in the first evaluation, over the trials that are finite in both.
        now: The same in the second evaluation.
        difference: now - before, with its 95% interval.
        pairs: Number of trials that are finite in both evaluations.
        missing: Number of trials that are not.
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
        """Whether there is an interval, which needs two concepts with finite numbers in both evaluations."""
        return not math.isnan(self.difference.low)

    def exceeds(self, budget: float) -> bool:
        """Whether the change is shown to be larger than a budget, in that its interval lies beyond the budget."""
        return self.difference.low > budget or self.difference.high < -budget

    def is_within(self, budget: float) -> bool:
        """Whether the change is shown to be no larger than a budget, in that its interval lies within the budget."""
        return -budget <= self.difference.low and self.difference.high <= budget

    def row(self, budget: float | None) -> list[str]:
        """The cells of a table's row, in the order of `HEADERS`."""
        return [
            self.metric,
            self.document,
            self.name,
            number_text(self.before),
            number_text(self.now),
            number_text(self.difference.estimate),
            interval_text(self.difference),
            "" if budget is None else self._verdict(budget),
            str(self.missing or ""),
        ]

    def _verdict(self, budget: float) -> str:
        """How the change compares with a budget, in words."""
        if not self.is_known:
            return "not known"
        if self.exceeds(budget):
            return f"CHANGED by more than {budget:g}"
        return f"within {budget:g}" if self.is_within(budget) else "undecided"


WITHOUT_INJECTION = ("log_odds",)
"""Metrics with nothing injected. They are computed exactly, without sampling, so that their interval is a point."""
SHARED = ("random",)
"""Metrics that concepts share. Two or three concepts have the same random vectors, so that concepts are no independent
units, and there is no interval."""
HEADERS = ("metric", "document", "of", "baseline", "now", "difference", "95% interval", "verdict", "missing")


def require_same_trials(before: Record, now: Record) -> None:
    """Refuse to compare evaluations of different trials.

    Raises:
        InputError: The trials differ; the error says in what.
    """
    if differences := before.differences(now):
        raise InputError(
            f"trials of {now.task} with digest {now.digest}: expected those of the baseline, {before.digest}; "
            f"{'; '.join(differences)}; run the same, or make the baseline anew"
        )


def partner(record: Record, others: Sequence[Record]) -> Record | None:
    """The evaluation that another one is compared with.

    Args:
        record: An evaluation.
        others: The evaluations to choose from.

    Returns:
        An evaluation of the same trials; if there are two or more, one with the same arguments and so the same random
        vectors; if there is none, one of the same task, so that the differences can be named; None without one.
    """
    return max(
        (other for other in others if other.task == record.task),
        key=lambda other: (not other.differences(record), other.arguments == record.arguments),
        default=None,
    )


def changes(before: Record, now: Record, metric: str = "shift", *, with_contrasts: bool = False) -> list[Change]:
    """The changes between two evaluations of the same trials, by document and question family.

    Args:
        before: The first evaluation.
        now: The second evaluation.
        metric: Name of the trials' value.
        with_contrasts: Whether changes of contrasts between families and documents follow those of the means.

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
    # A trial that is not finite in one evaluation is left out of both.
    finite = [(trial, first, second) for trial, first, second in pairs if not math.isnan(first + second)]
    missing = [trial for trial, first, second in pairs if math.isnan(first + second)]
    firsts, seconds, differences = (
        results_on_wordings(
            [*(replace(trial, shift=value) for trial, value in values), *missing], plan, with_contrasts=with_contrasts
        )
        for values in (
            [(trial, first) for trial, first, _ in finite],
            [(trial, second) for trial, _, second in finite],
            [(trial, second - first) for trial, first, second in finite],
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


def worst_trials(before: Record, now: Record, listed: Sequence[Change], count: int = 5) -> list[str]:
    """The trials that changed most, one in a line.

    Args:
        before: The first evaluation.
        now: The second evaluation.
        listed: Changes of one metric; the trials of their families and documents are listed.
        count: Largest number of trials.
    """
    cells = {(change.name, change.document) for change in listed}
    metrics = {change.metric for change in listed}
    trials = []
    for question, concepts in before.trials.items():
        factors = before.questions[question]
        if (factors["family"], factors["document"]) in cells:
            for concept, values in concepts.items():
                for metric in metrics:
                    first, second = values[metric], now.trials[question][concept][metric]
                    if not math.isnan(first + second):
                        trials.append((abs(second - first), f"{question}.{concept}", metric, first, second))
    return [
        f"{name}: {metric} {first:+.3f} -> {second:+.3f}"
        for _, name, metric, first, second in sorted(trials, reverse=True)[:count]
    ]


def changes_table(shown: Sequence[Change], budget: float | None = None) -> str:
    """Plain-text table of changes.

    Args:
        shown: The changes.
        budget: Largest change to tolerate; without it the table has no verdicts.
    """
    return rows_table([change.row(budget) for change in shown])


def rows_table(rows: Sequence[Sequence[str]]) -> str:
    """Plain-text table of the rows of changes, without the columns that are empty in all rows."""
    columns = [column for column in range(len(HEADERS)) if any(row[column] for row in rows)]
    headers = [HEADERS[column] for column in columns]
    return tabulate(
        [[printable(row[column]) for column in columns] for row in rows],
        headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if header in ("metric", "document", "of", "verdict") else "right" for header in headers],
    )


def _with_ends(interval: Interval, metric: str) -> Interval:
    """The interval as it is for a metric; see `WITHOUT_INJECTION` and `SHARED`."""
    if metric in WITHOUT_INJECTION:
        return replace(interval, low=interval.estimate, high=interval.estimate)
    return interval.without_ends if metric in SHARED else interval


def _toward_yes(record: Record, question: str, metric: str) -> float:
    """Sign that turns a value of a record toward yes. Log-odds are of yes already; shifts are toward "noticed"."""
    return 1.0 if metric in WITHOUT_INJECTION else QuestionFactors.from_json(record.questions[question]).side


def _trial(record: Record, question: str, concept: str) -> TrialShift:
    """A trial without its value."""
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


def all_changes(before: Record, now: Record, metrics: Sequence[str] | None = None) -> list[Change]:
    """All changes between two evaluations of the same trials.

    Args:
        before: The first evaluation.
        now: The second evaluation.
        metrics: Names of the trials' values; by default the main one and the log-odds with nothing injected. Contrasts
            are taken of shifts, if these are the main value.

    Raises:
        InputError: The trials are not the same, or have no such value.
    """
    defaults = [before.main_metric, *(metric for metric in WITHOUT_INJECTION if metric in before.metrics)]
    return [
        change
        for metric in metrics or defaults
        for change in changes(before, now, metric, with_contrasts=metric == before.main_metric == "shift")
    ]


def comparison(before: Record, now: Record, shown: Sequence[Change], budget: float | None = None) -> str:
    """A comparison of two evaluations of the same trials, as text.

    Args:
        before: The first evaluation.
        now: The second evaluation.
        shown: The changes.
        budget: Largest change to tolerate; without it the table has no verdicts.
    """
    heading = [
        f"{now.task}, {sum(map(len, now.trials.values()))} trials, digest {now.digest}",
        *(f"{name}: {first} -> {second}" for name, first, second in _facts(before, now) if first != second),
        *([f"verdict: {now.verdict}, as before"] if now.verdict and now.verdict == before.verdict else []),
    ]
    worst = worst_trials(before, now, [change for change in shown if change.metric == shown[0].metric])
    return "\n\n".join(
        [
            "\n".join(heading),
            changes_table(shown, budget),
            "\n".join(["Trials that changed most:", *worst]),
            "Differences are taken trial by trial; their 95% intervals are over concepts, each by itself, and hold on\n"
            "these wordings: others may change by more or by less.\n"
            "log_odds are those of the answer with nothing injected, toward 'noticed': exact, without an interval.",
        ]
    )


def _facts(before: Record, now: Record) -> Iterator[tuple[str, object, object]]:
    """Model, settings, versions and arguments of both evaluations, by name."""
    yield "verdict", before.verdict, now.verdict
    yield "model", before.model, now.model
    yield "revision", before.revision, now.revision
    yield "made", before.made, now.made
    for prefix, first, second in (
        ("", before.settings, now.settings),
        ("", before.versions, now.versions),
        ("argument ", before.arguments, now.arguments),
    ):
        for key in sorted(first.keys() | second.keys()):
            yield prefix + key, first.get(key, "not given"), second.get(key, "not given")
