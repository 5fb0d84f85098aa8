"""What the metadata of a sample of the probe task say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProbeFactors:
    """All questions about one document.

    Attributes:
        document: Document in the first turn.
        questions: Names of the questions.
        reversed: For each question, whether a no says that something was noticed.
        first_layer: The first steered block.
        documents: All documents of the run.
        seed: Seed of the run.
    """

    document: str
    questions: Sequence[str]
    reversed: Sequence[bool]
    first_layer: int
    documents: Sequence[str]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """A sample's metadata."""
        return {
            "document": self.document,
            "questions": list(self.questions),
            "reversed": list(self.reversed),
            "first_layer": self.first_layer,
            "plan": {"documents": list(self.documents), "seed": self.seed},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ProbeFactors":
        """Rebuild factors from `to_json`'s values."""
        return cls(
            document=values["document"],
            questions=values["questions"],
            reversed=values["reversed"],
            first_layer=values["first_layer"],
            documents=values["plan"]["documents"],
            seed=values["plan"]["seed"],
        )
