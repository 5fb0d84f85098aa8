"""What is added to the residual stream, and in which layers: a frozen recipe that is plain JSON.

A recipe names its vector (method, concept, seed) and never holds a tensor, so it can travel through
Inspect's logs and cache keys, be compared by value, and be resolved by any engine.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from introbench.errors import InputError

CONCEPT_METHODS = ("pca_center", "mean_diff")
"""Ways to extract a concept's direction; see `introbench.vectors.extract`."""

LayerRange = tuple[int, int]
"""Half-open range of decoder blocks, counted from 0; layer L means the output of block L."""


@dataclass(frozen=True)
class VectorRecipe:
    """Names one steering vector: a unit vector for every layer of the model.

    Attributes:
        method: One of `CONCEPT_METHODS`, or "random".
        concept: The concept's word; empty for random vectors.
        seed: Seed of a random vector; 0 for concepts, whose extraction has no randomness.
        draw: Which of the seed's random vectors; 0 for concepts.
    """

    method: str
    concept: str = ""
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        """Refuse recipes that name no vector."""
        if self.method == "random":
            if self.concept:
                raise InputError(f"concept={self.concept!r}: a random vector has no concept; leave it empty")
        elif self.method not in CONCEPT_METHODS:
            expected = ", ".join(CONCEPT_METHODS)
            raise InputError(f"method={self.method!r}: expected one of {expected}; pass e.g. -T method=pca_center")
        elif not self.concept:
            raise InputError(f"concept='': method {self.method} needs a concept; name one, e.g. cats")

    @property
    def label(self) -> str:
        """Short name for tables: the concept's word, or `random 3`."""
        return self.concept or f"random {self.draw}"


@dataclass(frozen=True)
class Injection:
    """Add `strength` times a unit vector to the output of each block in `layers`.

    Attributes:
        vector: Which vector, or None for the sham: zeros through the same code path.
        layers: Half-open range of decoder blocks.
        strength: Multiplies the unit vectors; in units of the residual stream.
    """

    vector: VectorRecipe | None
    layers: LayerRange
    strength: float

    def __post_init__(self) -> None:
        """Refuse strengths and ranges that no model could run."""
        check_strength(self.strength)
        start, stop = self.layers
        if not 0 <= start < stop:
            raise InputError(
                f"layers={start}:{stop}: expected 0 <= start < stop (half-open); pass e.g. -T layers=10:20"
            )

    @property
    def label(self) -> str:
        """Short name for tables."""
        return self.vector.label if self.vector else "sham"

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Injection":
        """Rebuild a recipe from `to_json`'s values."""
        vector = data["vector"]
        return cls(
            vector=VectorRecipe(**vector) if vector is not None else None,
            layers=(data["layers"][0], data["layers"][1]),
            strength=data["strength"],
        )


def sham(layers: LayerRange) -> Injection:
    """The baseline arm: an injection of strength 0, through the same code path as every other."""
    return Injection(vector=None, layers=layers, strength=0.0)


def check_strength(value: object) -> float:
    """Return `value` as a finite number, or raise `InputError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"strength={value!r}: expected a finite number; pass e.g. -T strength=8")
    return float(value)


def parse_layers(value: object, n_layers: int) -> LayerRange:
    """Read a half-open layer range as users write it.

    Args:
        value: `"10:20"`, a pair, or None for the middle third (`n // 3` up to `2 * n // 3`). An int is
            `"10:20"` after YAML read it as a number in base 60, as Inspect's `-T layers=10:20` does.
        n_layers: Number of decoder blocks of the model.

    Raises:
        InputError: The value is not a range, is empty, or lies outside the model.
    """
    hint = f"expected START:STOP with 0 <= START < STOP <= {n_layers} (half-open); pass e.g. -T layers=10:20"
    if value is None:
        return n_layers // 3, max(2 * n_layers // 3, n_layers // 3 + 1)
    if isinstance(value, int) and not isinstance(value, bool):
        value = divmod(value, 60)
    if isinstance(value, str):
        value = value.split(":")
    try:
        start, stop = (int(part) for part in value)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise InputError(f"layers={value!r}: {hint}") from None
    if not 0 <= start < stop <= n_layers:
        raise InputError(f"layers={start}:{stop}: {hint}")
    return start, stop
