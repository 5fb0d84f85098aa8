"""A finished evaluation and its results, for tests."""

from dataclasses import dataclass
from functools import cached_property

from inspect_ai.log import EvalLog

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.named_values import introspection_values
from introbench.analysis.noticed import Result, ScoredTrial
from introbench.errors import InputError
from introbench.prompts.schema import reference_document
from introbench.records.scores import scored_trials
from introbench.regression.baseline import Record
from introbench.stats.intervals import Interval


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A finished evaluation.

    Attributes:
        log: Inspect's log of the evaluation, with its samples.
    """

    log: EvalLog

    def __repr__(self) -> str:
        """A short text, which pytest shows with every test that fails."""
        return f"<{self.log.eval.task} on {self.log.eval.model}: {self.log.location}>"

    @cached_property
    def record(self) -> Record:
        """What a baseline file keeps of the evaluation.

        Raises:
            InputError: The task's trials cannot be compared one by one.
        """
        return Record.of(self.log)

    @property
    def verdict(self) -> str:
        """The verdict, such as `no effect`; empty for tasks without one."""
        return self.record.verdict

    @property
    def metrics(self) -> dict[str, float]:
        """The log's metrics by name, as `inspect view` shows them: the verdict, and the numbers to look at first."""
        scores = self.log.results.scores if self.log.results else []
        return {name: float(metric.value) for score in scores for name, metric in score.metrics.items()}

    @cached_property
    def values(self) -> dict[str, float]:
        """Every number of the introspection task's tables by name, such as `introspection - always_no | info | low`.

        Raises:
            InputError: The evaluation is of another task.
        """
        return introspection_values(self._trials)

    def mean(self, family: str, document: str | None = None) -> Interval:
        """Mean shift of a question family, in nats, with its 95% interval.

        Args:
            family: Such as `introspection` or `always_no`.
            document: The document; the reference document (info) by default.

        Raises:
            InputError: The evaluation has no such mean.
        """
        return self._interval_of(self._run.mean_shifts, family, self._document(document))

    def contrast(self, first: str, second: str, document: str | None = None) -> Interval:
        """Difference of two mean shifts, in nats, with its 95% interval.

        Args:
            first: `introspection`, `concept`, or a document.
            second: To compare with introspection: a family of control questions, `matched controls` or `salience`; with
                concept: `random vector`; with a document: another document.
            document: Document under which families are compared; the reference document (info) by default.

        Raises:
            InputError: The evaluation has no such contrast.
        """
        name = f"{first} - {second}"
        between_documents = {first, second} <= set(self._run.plan.documents)
        return self._interval_of(self._run.contrasts, name, "" if between_documents else self._document(document))

    @cached_property
    def noticed(self) -> Interval:
        """The headline: the excess of introspection over control questions at the same baseline, in nats.

        Raises:
            InputError: Introspection or control questions were not asked.
        """
        if self._run.headline:
            return self._run.headline.fit.excess
        raise InputError(
            f"families={', '.join(self._run.plan.families)}: no excess; expected introspection and control questions"
        )

    @property
    def _trials(self) -> list[ScoredTrial]:
        scored = scored_trials(self.log.samples or [], "yes_shift")
        if not scored:
            raise InputError(
                f"task {self.log.eval.task}: has no shifts; expected introbench/introspection; look at its metrics"
            )
        return scored

    @cached_property
    def _run(self) -> IntrospectionRun:
        return IntrospectionRun(self._trials)

    def _document(self, document: str | None) -> str:
        return document or reference_document(self._run.plan.documents)

    @staticmethod
    def _interval_of(results: list[Result], name: str, document: str) -> Interval:
        for result in results:
            if (result.name, result.document) == (name, document):
                return result.interval
        known = ", ".join(result.key for result in results)
        wanted = f"{name} | {document}" if document else name
        raise InputError(f"result {wanted!r}: expected one of {known}; correct it")
