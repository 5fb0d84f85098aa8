"""What a model's output says of one arm: written by the provider, read by the scorers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_DIGITS = 7
"""Of a number in a log, after the point and in all."""


@dataclass(frozen=True)
class ArmRecord:
    """One arm's record in the metadata of a model output.

    Attributes:
        arm: Name of the arm.
        vector: Label of the vector that was injected.
        sha256: Beginning of the digest of that vector; None for the sham.
        strength: Norm of what was added at each layer; None if no norm has the dose that was asked for.
        dose: What the injection does to neutral text, in nats; None if it is not finite or was not measured.
        live: Whether the vector brings its concept to mind; None if that does not apply.
        finite: Whether the model's numbers are finite under this arm.
        logprobs: For each answer, the log-probabilities of its forms, in nats; empty if they are not finite.
        lens: For each answer, its log-probability after every block, where it was read.
        top: The most likely tokens with their log-probabilities; empty where nobody looks at them, and in logs of
            release 0.1.0, in which they stand in the output's choices.
    """

    arm: str
    vector: str
    sha256: str | None
    strength: float | None
    dose: float | None
    live: bool | None
    finite: bool
    logprobs: Mapping[str, Sequence[float]]
    lens: Mapping[str, Sequence[float]] = field(default_factory=dict)
    top: Sequence[tuple[str, float]] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        record: dict[str, Any] = {
            "arm": self.arm,
            "vector": self.vector,
            "sha256": self.sha256,
            "strength": rounded(self.strength),
            "dose": rounded(self.dose),
            "live": self.live,
            "finite": self.finite,
            "logprobs": rounded(self.logprobs) if self.finite else None,
        }
        record |= {"lens": rounded(self.lens)} if self.lens else {}
        return record | ({"top": rounded(self.top)} if self.top else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ArmRecord":
        """Rebuild a record from `to_json`'s values."""
        return cls(
            arm=values["arm"],
            vector=values["vector"],
            sha256=values.get("sha256"),
            strength=values["strength"],
            dose=values.get("dose"),
            live=values.get("live"),
            finite=values["finite"],
            logprobs=values["logprobs"] or {},
            lens=values.get("lens", {}),
            top=tuple((token, logprob) for token, logprob in values.get("top", ())),
        )

    @property
    def strength_text(self) -> str:
        """The strength as an error message shows it."""
        return "no finite strength" if self.strength is None else f"strength {self.strength:g}"


@dataclass(frozen=True)
class TextRecord:
    """What was written under one arm, in the metadata of a model output.

    Attributes:
        arm: Name of the arm.
        vector: Label of the vector that was injected.
        strength: Norm of what was added at each layer; None if no norm has the dose that was asked for.
        dose: What the injection does to neutral text, in nats; None if it is not finite.
        texts: What was written, one text for each seed.
        mean_logprobs: For each text, the mean log-probability of its tokens to the model as it is, in nats; None if the
            text is empty.
        finite: Whether the model's numbers were finite throughout.
    """

    arm: str
    vector: str
    strength: float | None
    dose: float | None
    texts: Sequence[str]
    mean_logprobs: Sequence[float | None]
    finite: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "arm": self.arm,
            "vector": self.vector,
            "strength": rounded(self.strength),
            "dose": rounded(self.dose),
            "texts": list(self.texts),
            "mean_logprobs": rounded(self.mean_logprobs),
            "finite": self.finite,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TextRecord":
        """Rebuild a record from `to_json`'s values."""
        return cls(**values)


def finite_or_none(number: float) -> float | None:
    """A number as a record holds it: JSON has none that are not finite."""
    return number if math.isfinite(number) else None


def number_or_nan(number: float | None) -> float:
    """A number of a record, which holds None in place of one that is not finite."""
    return math.nan if number is None else float(number)


def rounded(values: Any) -> Any:
    """Numbers as a log holds them, alone or in mappings and sequences: with as many digits as float32 has, or more.

    There are seven digits after the point, and seven digits in all for smaller numbers. The others say nothing, since
    the model computes in float32 or less, and would take more of a log than these.
    """
    if isinstance(values, float):
        size = math.floor(math.log10(abs(values))) if math.isfinite(values) and values else 0
        return round(float(values), max(_DIGITS, _DIGITS - 1 - size))
    if isinstance(values, Mapping):
        return {name: rounded(value) for name, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [rounded(value) for value in values]
    return values
