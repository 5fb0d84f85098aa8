"""The factors of a trial: what was asked, under which arms, and what the run set out to ask.

They are the metadata of Inspect's samples: written when a task is made, read by solvers, scorers and reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from introbench.prompts.schema import SALIENCE, reference_document
from introbench.records import old_logs
from introbench.records.arm import Arm, rows_of


def side_of(is_reversed: bool) -> float:
    """+1 for a question whose yes says that something was noticed, -1 for a reversed one, whose no does."""
    return -1.0 if is_reversed else 1.0


def id_of_concept(concept: str) -> str:
    """A concept's name as it stands in the ids of samples, which have no spaces; two names never have the same id."""
    return concept.replace("%", "%25").replace("_", "%5F").replace(" ", "_")


@dataclass(frozen=True)
class QuestionFactors:
    """What a trial asks.

    Attributes:
        document: Document in the first turn.
        family: Question family; for the identification task, its part.
        question: Short name of the question, the same under every document.
        answer_format: How the answer is asked for and read.
        answer_kind: What the format has in common with others that use the same labels.
        reversed: Whether a no says that something was noticed, or stands out.
        expected: The right answer when nothing was injected.
        options: For a list of concepts, what each label stands for.
        framing: How an introspection question puts what it asks (`introbench.prompts.schema.FRAMINGS`); empty for other
            questions, and in logs of release 0.1.0.
    """

    document: str
    family: str
    question: str
    answer_format: str = ""
    answer_kind: str = ""
    reversed: bool = False
    expected: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    framing: str = ""

    @property
    def side(self) -> float:
        """+1 if a yes says that something was noticed, or stands out; -1 if a no does."""
        return side_of(self.reversed)

    @property
    def groups(self) -> dict[str, str]:
        """By what the log viewer groups trials."""
        return {"document": self.document, "family": self.family}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        asked: dict[str, Any] = {"document": self.document, "family": self.family, "question": self.question}
        if self.answer_format:
            asked |= {"format": self.answer_format, "answer_kind": self.answer_kind, "reversed": self.reversed}
        if self.framing:
            asked["framing"] = self.framing
        if self.options:
            asked["options"] = dict(self.options)
        return asked | {"expected": self.expected}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "QuestionFactors":
        """Rebuild factors from `to_json`'s values, or from an older log's."""
        answer_format = values.get("format", "")
        return cls(
            document=values["document"],
            family=values["family"],
            question=values["question"],
            answer_format=answer_format,
            answer_kind=values.get("answer_kind", old_logs.answer_kind(answer_format)),
            reversed=bool(values.get("reversed", False)),
            expected=values.get("expected", ""),
            options=values.get("options", {}),
            framing=values.get("framing", ""),
        )


@dataclass(frozen=True)
class PlaceFactors:
    """What a trial of the location task asks.

    Attributes:
        part: Which kind of place is asked for.
        passage: Name of the text that is read meanwhile.
        kind: `introspective`, or `other` for a question on something else with the same options.
        wording: Name of the question's wording.
        order: Number of the order in which the options are labelled.
        options: The place that each label stands for.
        expected: Which answer is right.
    """

    part: str
    passage: str
    kind: str
    wording: str
    order: int
    options: Mapping[str, str]
    expected: str

    @property
    def item(self) -> str:
        """Passage, wording and order: what all concepts are asked alike."""
        return f"{self.passage} {self.wording} {self.order}"

    @property
    def groups(self) -> dict[str, str]:
        """By what the log viewer groups trials."""
        return {"part": self.part, "passage": self.passage, "kind": self.kind}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PlaceFactors":
        """Rebuild factors from `to_json`'s values."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Plan:
    """What a run set out to ask: every planned result is listed, also one that is left without pairs.

    Attributes:
        documents: Names of documents.
        families: Names of question families.
        margin: Smallest effect that matters to the user, in nats; None if the task draws no verdict.
        reference_only: The families that are asked under the reference document alone; logs of release 0.1.0 leave it
            out.
        more: What else an experiment's results need: a sweep's axes, the parts of the location task.
    """

    documents: Sequence[str] = ()
    families: Sequence[str] = ()
    margin: float | None = None
    reference_only: Sequence[str] = (SALIENCE,)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ordered_documents(self) -> list[str]:
        """The reference document first, the others as planned."""
        return sorted(self.documents, key=lambda name: name != reference_document(self.documents))

    def families_under(self, document: str) -> list[str]:
        """The families that are asked under a document, as planned."""
        left_out = () if document == reference_document(self.documents) else self.reference_only
        return [family for family in self.families if family not in left_out]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plan: dict[str, Any] = {"documents": list(self.documents), "families": list(self.families)} | dict(self.more)
        plan |= {"margin": self.margin} if self.margin is not None else {}
        return plan | ({"reference_only": list(self.reference_only)} if self.families else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """Rebuild a plan from `to_json`'s values, or from an older log's."""
        known = ("documents", "families", "margin", "reference_only")
        return cls(
            documents=values.get("documents", ()),
            families=values.get("families", ()),
            margin=values.get("margin"),
            reference_only=values.get("reference_only", cls.reference_only),
            more={name: value for name, value in values.items() if name not in known},
        )


@dataclass(frozen=True)
class TrialFactors:
    """Everything that a sample's metadata say of its trial.

    Attributes:
        asked: What is asked.
        concept: What is injected.
        arms: The trial's arms by name, in the order of the output's records.
        plan: What the run set out to ask.
        arm_batch: Index of the arm batch whose rows the arms are.
        asked_with: Name of the questions that are run as one with this one.
        prior_messages: How many leading messages are the prior turn.
        answers: What is read, as plain JSON.
        silent: Whether the output leaves out the likely tokens of all arms but the first.
    """

    asked: QuestionFactors | PlaceFactors
    concept: str
    arms: Mapping[str, Arm]
    plan: Plan
    arm_batch: int = 0
    asked_with: str = ""
    prior_messages: int = 0
    answers: Mapping[str, Any] = field(default_factory=dict)
    silent: bool = False

    @property
    def question(self) -> QuestionFactors:
        """What is asked, in tasks that ask questions of families under documents."""
        assert isinstance(self.asked, QuestionFactors)
        return self.asked

    @property
    def place(self) -> PlaceFactors:
        """What is asked, in the location task."""
        assert isinstance(self.asked, PlaceFactors)
        return self.asked

    @property
    def rows(self) -> dict[str, int]:
        """The row of each arm in the arm batch, by the arm's name."""
        return rows_of(self.arms)

    def to_json(self) -> dict[str, Any]:
        """A sample's metadata."""
        return {
            **self.asked.to_json(),
            "concept": self.concept,
            "bank": self.arm_batch,
            "asked_with": self.asked_with,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "plan": self.plan.to_json(),
            "prior_messages": self.prior_messages,
            "answers": dict(self.answers),
            **({"silent": True} if self.silent else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrialFactors":
        """Rebuild factors from a sample's metadata, of this release or an older one."""
        asked: QuestionFactors | PlaceFactors = (
            PlaceFactors.from_json(values) if "part" in values else QuestionFactors.from_json(values)
        )
        return cls(
            asked=asked,
            concept=values["concept"],
            arms=arms_from_json(values.get("arms", {})),
            plan=Plan.from_json(values["plan"]),
            arm_batch=values.get("bank", 0),
            asked_with=values.get("asked_with", ""),
            prior_messages=values.get("prior_messages", 0),
            answers=values.get("answers", {}),
            silent=values.get("silent", False),
        )


def arms_from_json(arms: Mapping[str, Any]) -> dict[str, Arm]:
    """A trial's arms from its sample's metadata, of this release or an older one."""
    return {name: old_logs.arm(name, arm) if isinstance(arm, int) else Arm.from_json(arm) for name, arm in arms.items()}


@dataclass(frozen=True)
class ContinuationFactors:
    """What the metadata of a sample say whose chat is continued under steering.

    Attributes:
        concept: What is injected.
        arms: The arms under which texts are written, by name.
        arm_batch: Index of the arm batch whose rows the arms are.
        rows: For each strength, the rows of its arms: the concept's vector first, then the random ones.
        strengths: For each strength, the names of its arms under which texts are written, in the same order.
        reference: The strength to look at first.
        description: What a person calls what is injected; empty if it is the concept itself.
    """

    concept: str
    arms: Mapping[str, Arm]
    arm_batch: int
    rows: Mapping[str, Sequence[int]]
    strengths: Mapping[str, Sequence[str]]
    reference: str
    description: str = ""

    @property
    def words(self) -> str:
        """The words that are looked for in the texts."""
        return self.description or self.concept

    def to_json(self) -> dict[str, Any]:
        """A sample's metadata."""
        return {
            "concept": self.concept,
            "bank": self.arm_batch,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "rows": {strength: list(rows) for strength, rows in self.rows.items()},
            "strengths": {strength: list(names) for strength, names in self.strengths.items()},
            "reference": self.reference,
            **({"description": self.description} if self.description else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ContinuationFactors":
        """Rebuild factors from a sample's metadata, of this release or an older one."""
        return cls(
            concept=values["concept"],
            arms=arms_from_json(values["arms"]),
            arm_batch=values["bank"],
            rows=values["rows"],
            strengths=values["strengths"],
            reference=values["reference"],
            description=values.get("description", ""),
        )
