"""One evaluation, as a test looks at it."""

from dataclasses import dataclass
from functools import cached_property

from inspect_ai.log import EvalLog, EvalSample

from introbench.analysis.contrasts import contrasts, mean_shifts
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.shifts import Result
from introbench.errors import InputError
from introbench.prompts.schema import reference_document
from introbench.regression.baseline import Record
from introbench.stats.intervals import Interval


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A finished evaluation.

    Attributes:
        log: Inspect's log of it, with its samples.
    """

    log: EvalLog

    def __repr__(self) -> str:
        """Short: pytest shows it with every test that fails."""
        return f"<{self.log.eval.task} on {self.log.eval.model}: {self.log.location}>"

    @cached_property
    def record(self) -> Record:
        """What a baseline keeps of it.

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
        """The log's own results by name, as `inspect view` shows them."""
        scores = self.log.results.scores if self.log.results else []
        return {name: float(each.value) for score in scores for name, each in score.metrics.items()}

    def mean(self, family: str, document: str | None = None) -> Interval:
        """Mean shift of a question family, in nats, with its 95% interval.

        Args:
            family: Such as `introspection` or `always_no`.
            document: Under which document; the reference document (info) by default.

        Raises:
            InputError: That was not asked.
        """
        return self._found(mean_shifts(self._run.shifts, self._run.plan), family, self._document(document))

    def contrast(self, first: str, second: str, document: str | None = None) -> Interval:
        """How much more one thing moves than another, in nats, with its 95% interval.

        Args:
            first: `introspection`; `concept`, or a document.
            second: A family of control questions, `matched controls` or `salience`; `random vector`, or a document.
            document: Under which document families are compared; the reference document (info) by default.

        Raises:
            InputError: That was not asked.
        """
        name = f"{first} - {second}"
        between_documents = {first, second} <= set(self._run.plan.documents)
        return self._found(
            contrasts(self._run.shifts, self._run.plan), name, "" if between_documents else self._document(document)
        )

    @cached_property
    def noticed(self) -> Interval:
        """The headline: introspection in excess of what control questions with its baseline do, in nats.

        Raises:
            InputError: Introspection or control questions were not asked.
        """
        if self._run.headline:
            return self._run.headline.confusion.excess
        raise InputError(
            f"families={', '.join(self._run.plan.families)}: no excess; expected introspection and control questions"
        )

    @property
    def _samples(self) -> list[EvalSample]:
        found = [each for each in self.log.samples or [] if each.scores and "yes_shift" in each.scores]
        if not found:
            raise InputError(
                f"task {self.log.eval.task}: has no shifts; expected introbench/introspection; look at its metrics"
            )
        return found

    @cached_property
    def _run(self) -> IntrospectionRun:
        return IntrospectionRun(
            [(sample.metadata, (sample.scores or {})["yes_shift"].metadata or {}) for sample in self._samples]
        )

    def _document(self, document: str | None) -> str:
        return document or reference_document(self._run.plan.documents)

    @staticmethod
    def _found(results: list[Result], name: str, document: str) -> Interval:
        for each in results:
            if (each.name, each.document) == (name, document):
                return each.interval
        known = ", ".join(each.key for each in results)
        wanted = f"{name} | {document}" if document else name
        raise InputError(f"result {wanted!r}: expected one of {known}; correct it")
