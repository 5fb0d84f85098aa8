"""Which arm of a trial is which: an identity that is data, so that nothing has to take an arm's name apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SHAM, CONCEPT, RANDOM = "sham", "concept", "random"
FINETUNE, CONTRAST = "finetune", "contrast"
READ_ONLY_RANDOM = "rotation"
"""A random vector under which no text is written: only the concept's word is read."""

NEGATED = "negated"
CONTROL_VECTORS = ("gaussian", "covariance", "shuffle", NEGATED, "other")
"""Vectors that may stand beside a concept's: of a random direction at each layer, of the residual stream's covariance,
with shuffled coordinates, its opposite, another concept's. Each at the same norm, and at the same impact."""

CACHE, ACTIVE = "cache", "active"
NORM, IMPACT = "norm", "impact"


@dataclass(frozen=True)
class Arm:
    """One arm of a trial.

    Attributes:
        kind: `sham`, `concept`, `random`, one of `CONTROL_VECTORS`; in a model swap `finetune` and `contrast`.
        row: Its row in the arm batch.
        number: Which one of several of its kind, counted from 1; for a contrast of models +1 or -1; 0 if there is one.
        steering: When the injection is on: `cache` (while the prior turn is read) or `active` (to the end).
        matched: In what a random or control vector is like the concept's vector: `norm` or `impact` (the dose).
        place: Where, or at which strength, the vector is injected, if arms differ in that.
    """

    kind: str
    row: int
    number: int = 0
    steering: str = CACHE
    matched: str = NORM
    place: str = ""

    @property
    def is_control_vector(self) -> bool:
        """Whether its vector was made to be compared with the concept's own."""
        return self.kind in CONTROL_VECTORS

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is as usual is left out."""
        usual = {"number": 0, "steering": CACHE, "matched": NORM, "place": ""}
        named = {"number": self.number, "steering": self.steering, "matched": self.matched, "place": self.place}
        return {"kind": self.kind, "row": self.row, **{k: v for k, v in named.items() if v != usual[k]}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Arm":
        """Rebuild an arm from `to_json`'s values."""
        return cls(**values)


def rows_of(arms: Mapping[str, Arm]) -> dict[str, int]:
    """The row of each arm in the arm batch, by the arm's name."""
    return {name: arm.row for name, arm in arms.items()}


def steerings_of(arms: Iterable[Arm]) -> tuple[str, ...]:
    """When the injections of a trial are on, in the order of its arms: one or two of `cache` and `active`."""
    return tuple(dict.fromkeys(arm.steering for arm in arms if arm.kind == CONCEPT))
