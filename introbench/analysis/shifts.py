"""One trial's shifts, read from its factors and its score, and what a run set out to ask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inspect_ai.scorer import SampleScore, Score

from introbench.analysis.verdict import MARGIN
from introbench.prompts import data
from introbench.prompts.schema import SALIENCE, reference_document
from introbench.stats.intervals import Interval

MATCHED = "introspection - matched controls"

NO_CONTROLS = ("introspection", SALIENCE)
"""Question families with a side, on which something was noticed or stands out; all others are controls."""


@dataclass(frozen=True)
class TrialShift:
    """One trial's shifts, signed so that "noticed" is positive on introspection, "stands out" on salience questions.

    Attributes:
        document: Document in the first turn.
        family: Question family.
        item: The question.
        answer_format: How it was asked for and read.
        concept: The injected concept.
        sign: -1 if a no says that something was noticed or stands out, else +1; it is already in the shifts.
        shift: Shift under the concept's vector, in nats; NaN if the trial has no finite numbers.
        random: Shifts under the random vectors, by vector; NaN likewise.
        baseline: Log-odds of yes under the sham, in nats.
        controls: Shifts under the concept's control vectors, by arm; NaN likewise.
    """

    document: str
    family: str
    item: str
    answer_format: str
    concept: str
    sign: float
    shift: float
    random: dict[str, float]
    baseline: float = math.nan
    controls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One mean or contrast.

    Attributes:
        name: What is compared with what, e.g. `introspection - always_no`.
        document: Under which document; empty if documents are compared.
        interval: Estimate and 95% interval, in nats.
        pairs: How many pairs were differenced: trials and their shams, trials and the same trials under another
            document, or, where question families are compared, concepts.
        missing: Number of trials that belong to it and could not be used: lost, not finite, or without a partner.
    """

    name: str
    document: str
    interval: Interval
    pairs: int
    missing: int

    @property
    def key(self) -> str:
        """Name and document in one string."""
        return f"{self.name} | {self.document}" if self.document else self.name


@dataclass(frozen=True)
class Plan:
    """What a run set out to ask: every planned result is listed, also one that is left without pairs.

    Attributes:
        documents: Names of documents.
        families: Names of question families.
        margin: Smallest effect that matters to the user, in nats; see `introbench.analysis.verdict`.
    """

    documents: Sequence[str]
    families: Sequence[str]
    margin: float = MARGIN

    @property
    def ordered_documents(self) -> list[str]:
        """The reference document first, the others as planned."""
        reference = reference_document(self.documents)
        return sorted(self.documents, key=lambda name: name != reference)

    def families_under(self, document: str) -> list[str]:
        """The families that are asked under a document, as planned."""
        elsewhere = document != reference_document(self.documents)
        skipped = {question.family for question in data.questions() if question.reference_only and elsewhere}
        return [family for family in self.families if family not in skipped]


def live_concepts(scores: list[SampleScore]) -> dict[str, bool | None]:
    """For each concept, whether its vector is live."""
    return {
        (score.sample_metadata or {})["concept"]: (score.score.metadata or {}).get("live")
        for score in scores
        if "live" in (score.score.metadata or {})
    }


def plan_of(factors: Mapping[str, Any]) -> Plan:
    """What the run set out to ask, from one trial's factors."""
    return Plan(**factors["plan"])


def shift_of_trial(factors: Mapping[str, Any], score: Score, steering: str = "cache") -> TrialShift | None:
    """One trial's shifts, exact, from its factors and its score.

    Args:
        factors: What the dataset put into the sample's metadata.
        score: Its score.
        steering: "cache" for what was steered first (everything, unless both were asked for), or "active" for what
            was steered to the end beside it.

    Returns:
        None if a trial was not run with active steering beside it.
    """
    exact = score.metadata or {}
    if steering == "active":
        if "concept active" not in factors.get("arms", {}):
            return None
        exact = exact.get("active", {})
    return TrialShift(
        document=factors["document"],
        family=factors["family"],
        item=factors["question"],
        answer_format=factors["format"],
        concept=factors["concept"],
        sign=-1.0 if factors["reversed"] else 1.0,
        shift=exact.get("shift", math.nan),
        random=exact.get("random", {}),
        baseline=(score.metadata or {}).get("log_odds", {}).get("sham", math.nan),
        controls=exact.get("controls", {}),
    )
