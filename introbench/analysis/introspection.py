"""A whole run of the introspection task: its trials, and what follows from them, up to the verdict.

Metric, table and regression tests ask the same object, so that they cannot disagree.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from introbench.analysis.contrasts import contrasts, mean_shifts
from introbench.analysis.evidence import Evidence, evidence
from introbench.analysis.excess import CONCEPTS, Excess, excess_by_wording, excesses, mean_doses
from introbench.analysis.noticed import ReadTrial, Result, ScoredTrial, TrialShift, read_trials, shifts_of_read_trials
from introbench.analysis.verdict import MARGIN, Verdict, verdict
from introbench.records.factors import Plan
from introbench.stats.intervals import Interval


class IntrospectionRun:
    """What the trials of one run say together.

    Args:
        trials: For each trial its sample's metadata and its score's.
    """

    def __init__(self, trials: Iterable[ScoredTrial]) -> None:
        self._trials: Sequence[ScoredTrial] = list(trials)

    @cached_property
    def plan(self) -> Plan:
        """What the run set out to ask, which the metadata of every sample say."""
        return Plan.from_json(self._trials[0][0]["plan"]) if self._trials else Plan()

    @property
    def margin(self) -> float:
        """The smallest effect that matters to the user, in nats."""
        return MARGIN if self.plan.margin is None else self.plan.margin

    @cached_property
    def read(self) -> list[ReadTrial]:
        """The factors of every trial and its exact numbers."""
        return read_trials(self._trials)

    @cached_property
    def shifts(self) -> list[TrialShift]:
        """The shifts of all trials, under the injections that the run is about."""
        return shifts_of_read_trials(self.read)

    @cached_property
    def active_shifts(self) -> list[TrialShift]:
        """The shifts of the same trials with the injection on while the model answers; empty if that was not run."""
        return shifts_of_read_trials(self.read, active=True)

    @cached_property
    def live(self) -> Mapping[str, bool | None]:
        """For each concept, whether its vector is live; None if that is not known.

        Fewer random vectors may stand beside a concept under other documents; what holds is found under the reference.
        """
        reference = self.plan.ordered_documents[:1]
        in_order = sorted(self._trials, key=lambda trial: trial[0].get("document") in reference)
        return {factors["concept"]: exact["live"] for factors, exact in in_order if "live" in exact}

    @cached_property
    def doses(self) -> dict[str, float]:
        """The mean dose of every kind of vector under the reference document, in nats."""
        return self._doses_under(self.plan.ordered_documents[0]) if self.plan.documents else {}

    @cached_property
    def reference_excesses(self) -> list[Excess]:
        """The excess of every kind of vector under the reference document."""
        return self._excesses_under(self.plan.ordered_documents[:1])

    @cached_property
    def excesses(self) -> list[Excess]:
        """The excess of every kind of vector under every document."""
        return [*self.reference_excesses, *self._excesses_under(self.plan.ordered_documents[1:])]

    def _excesses_under(self, documents: Sequence[str]) -> list[Excess]:
        # Fewer vectors may be injected under some documents, so that their mean dose is another there.
        return [
            excess
            for document in documents
            for excess in excesses(self.shifts, self.plan, documents=[document], doses=self._doses_under(document))
        ]

    def _doses_under(self, document: str) -> dict[str, float]:
        return mean_doses(trial for trial in self.read if trial[0].question.document == document)

    @cached_property
    def excess_by_wording(self) -> dict[str, Interval]:
        """The concepts' excess under the reference document, of each framing and side of the wordings alone."""
        return excess_by_wording(self.shifts, self.plan.ordered_documents[0]) if self.reference_excesses else {}

    @property
    def headline(self) -> Excess | None:
        """The excess of the concepts' vectors under the reference document."""
        return next((excess for excess in self.reference_excesses if excess.vectors == CONCEPTS), None)

    @cached_property
    def mean_shifts(self) -> list[Result]:
        """The mean shift of every family, under every document."""
        return mean_shifts(self.shifts, self.plan)

    @cached_property
    def contrasts(self) -> list[Result]:
        """Differences of mean shifts between families, vectors and documents."""
        return contrasts(self.shifts, self.plan)

    @cached_property
    def evidence(self) -> Evidence | None:
        """What the verdict rests on; None without introspection and control questions."""
        return evidence(self.reference_excesses, self.shifts, self.plan, self.live)

    @cached_property
    def verdict(self) -> Verdict | None:
        """The verdict; None without anything to rest it on."""
        return verdict(self.evidence, self.margin) if self.evidence else None

    @property
    def so_far(self) -> str:
        """The headline in a line, for somebody who waits for the rest of the run."""
        if self.headline is None:
            return "no excess, for which introspection and control questions are needed"
        excess = self.headline.fit.excess
        return (
            f"document {self.headline.document} is through; excess so far {excess.estimate:+.3f} nats "
            f"({excess.low:+.3f} to {excess.high:+.3f})"
        )

    @property
    def not_finite(self) -> int:
        """How many trials have no finite numbers."""
        return sum(math.isnan(shift.shift) for shift in self.shifts)
