"""What is added to the residual stream, and in which layers: a frozen recipe that is plain JSON.

A recipe names its vector (method, concept, seed) and never holds a tensor, so it can travel through
Inspect's logs and cache keys, be compared by value, and be resolved by any engine.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from introbench.errors import InputError, shown

TELL_ME_ABOUT = "tell_me_about"
"""The method whose vectors are differences as they are, not of unit norm: a strength of 1 adds the difference once."""

CONCEPT_METHODS = ("pca_center", "mean_diff", TELL_ME_ABOUT)
"""Ways to extract a concept's direction; see `introbench.steering.vectors.extract`."""

FROM_FILE = "file"
"""The method of a concept's vector that was read from a file; see `introbench.steering.vectors.vector_file`."""

MODEL_CONTRAST = "model_contrast"
"""The method of a vector that leads from a model to its fine-tune, also where it was read from a file."""

STEERINGS = ("cache", "active")
"""When an injection is on: while the prior turn's cache is filled, or to the end, while the model answers too."""

CONTROLS = ("rotation", "gaussian", "covariance", "shuffle")
"""Ways to make a random vector; see `introbench.steering.vectors.random`."""

UNITS = ("norm", "residual", "kl")
"""What a strength is measured in; see `Strength`."""

MATCHES = ("norm", "impact")
"""In what a control may be like the vector that it controls for: the norm of what is added, or the dose."""

UNKNOWN_MODEL_STRENGTH = "residual:0.05"
"""For models without a known setting: about what strength 8 is for the embedded model."""

LayerRange = tuple[int, int]
"""Half-open range of decoder blocks, counted from 0; layer L means the output of block L."""

Span = tuple[int, int, float]
"""Tokens of the prior turn, half-open, counted from 0, and the share of the strength that they get."""


@dataclass(frozen=True)
class Strength:
    """How strong an injection is.

    Attributes:
        number: The strength; below 0, the opposite of the vector is added.
        unit: "norm" for the norm of what is added at each layer (of a `tell_me_about` vector, and of one from a file,
            by how much its own length is multiplied), "residual" for that norm as a share of the model's
            median residual norm in these layers, "kl" for the dose in nats of the injection into the cache alone; see
            `introbench.steering.dose`.
    """

    number: float
    unit: str = "norm"

    def __post_init__(self) -> None:
        """Refuse what is no strength."""
        if self.unit not in UNITS or not math.isfinite(self.number):
            raise InputError(
                f"strength={shown(self.number)} ({self.unit}): expected a finite number in one of {', '.join(UNITS)}; "
                f"pass e.g. -T strength=8"
            )

    def __str__(self) -> str:
        """As users write it."""
        return f"{self.number:g}" if self.unit == "norm" else f"{self.unit}:{self.number:g}"

    def times(self, factor: float) -> "Strength":
        """Another strength in the same unit."""
        return Strength(factor * self.number, self.unit)


NOTHING = Strength(0.0)


@dataclass(frozen=True)
class VectorRecipe:
    """Names one steering vector: one for every layer of the model, of unit norm unless its method says otherwise.

    Attributes:
        method: One of `CONCEPT_METHODS`, `FROM_FILE` or `MODEL_CONTRAST`.
        concept: The concept's word; for a contrast of models the fine-tune's name, or that of the file.
        seed: None for the concept's own vector; otherwise the seed of a random vector, which is the concept's
            vector turned by a random rotation, unless `control` says otherwise.
        draw: Which of the seed's random vectors.
        control: How a random vector is made: one of `CONTROLS`.
        file: Path of the file that the vector is read from, if any.
        digest: SHA-256 of that file.
    """

    method: str
    concept: str
    seed: int | None = None
    draw: int = 0
    control: str = "rotation"
    file: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        """Refuse recipes that name no vector."""
        if self.method not in (*CONCEPT_METHODS, FROM_FILE, MODEL_CONTRAST):
            expected = ", ".join(CONCEPT_METHODS)
            raise InputError(f"method={shown(self.method)}: expected one of {expected}; pass e.g. -T method=pca_center")
        if self.control not in CONTROLS:
            raise InputError(f"control={shown(self.control)}: expected one of {', '.join(CONTROLS)}; correct it")
        if not self.concept.strip():
            raise InputError(f"concept={shown(self.concept)}: expected a word; pass e.g. -T concepts=cats,bread")

    @property
    def is_random(self) -> bool:
        """Whether this is a control vector rather than a concept's own."""
        return self.seed is not None

    @property
    def label(self) -> str:
        """Short name for tables: `cats`, `random cats-0`, or `gaussian cats-0`."""
        if self.is_random:
            kind = "random" if self.control == "rotation" else self.control
            return f"{kind} {self.concept}-{self.draw}"
        return f"{self.concept} - base" if self.method == MODEL_CONTRAST else self.concept


@dataclass(frozen=True)
class Injection:
    """Add a unit vector, scaled, to the output of each block in `layers`.

    Attributes:
        vector: Which vector, or None for the sham: zeros through the same code path.
        layers: Half-open range of decoder blocks.
        strength: Multiplies the unit vectors.
        steering: One of `STEERINGS`.
        filler: Name of the fine-tune that fills the prior turn's cache; None for the model that answers.
        like: Another vector whose strength is meant, so that this one is a control of it; None for this one's own.
        match: In what it is to be like the other at that strength: one of `MATCHES`.
        spans: Which tokens of the prior turn are steered, and by what share of the strength; all of them if empty.
        batch: Injections of one arm batch that have the same number are run side by side, each number beside a sham of
            its own.
    """

    vector: VectorRecipe | None
    layers: LayerRange
    strength: Strength
    steering: str = "cache"
    filler: str | None = None
    like: VectorRecipe | None = None
    match: str = "norm"
    spans: tuple[Span, ...] = ()
    batch: int = 0

    def __post_init__(self) -> None:
        """Refuse ranges and spans that no model could run."""
        if self.match not in MATCHES:
            raise InputError(f"match={shown(self.match)}: expected one of {', '.join(MATCHES)}; correct it")
        start, stop = self.layers
        for begin, end, share in self.spans:
            if not 0 <= begin < end or not math.isfinite(share):
                raise InputError(
                    f"span {begin}:{end} by {share!r}: expected 0 <= BEGIN < END, and a finite share; correct it"
                )
        if not 0 <= start < stop:
            raise InputError(f"layers={start}:{stop}: expected 0 <= START < STOP (half-open); pass e.g. -T layers=0:1")

    @property
    def label(self) -> str:
        """Short name for tables."""
        name = self.vector.label if self.vector else "nothing" if self.filler else "sham"
        name = f"minus {name}" if self.strength.number < 0 else name
        name = f"{name} (impact)" if self.like and self.match == "impact" else name
        name = f"{name} in the cache of {self.filler}" if self.filler else name
        return f"{name} (active)" if self.steering == "active" else name

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self) | {"layers": list(self.layers), "spans": [list(span) for span in self.spans]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Injection":
        """Rebuild a recipe from `to_json`'s values."""
        start, stop = data["layers"]
        recipes = {key: None if data[key] is None else VectorRecipe(**data[key]) for key in ("vector", "like")}
        strength, spans = Strength(**data["strength"]), tuple((b, e, share) for b, e, share in data["spans"])
        return cls(**{**data, **recipes, "layers": (start, stop), "strength": strength, "spans": spans})


def sham(layers: LayerRange, batch: int = 0) -> Injection:
    """The baseline arm: an injection of strength 0, through the same code path as every other."""
    return Injection(vector=None, layers=layers, strength=NOTHING, batch=batch)


def parse_strength(value: object) -> Strength:
    """Read a strength as users write it.

    Args:
        value: A number (the norm of what is added); `"residual:0.05"`, that share of the model's median residual norm,
            for models whose scale is not known; or `"kl:0.5"`, a dose in nats, which is found by bisection.

    Raises:
        InputError: The value is none of these, or is not finite.
    """
    unit, rest = "", value
    if isinstance(value, str):
        unit, _, rest = value.strip().rpartition(":")
    try:
        number = math.nan if isinstance(rest, bool) else float(cast(str, rest))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or unit not in ("", "residual", "kl"):
        raise InputError(
            f"strength={shown(value)}: expected a finite number, a share of the residual norm, or a dose in nats; "
            f"pass e.g. -T strength=8, -T strength=residual:0.05 or -T strength=kl:0.5"
        )
    return Strength(number, unit or "norm")


def parse_layers(value: object, n_layers: int) -> LayerRange:
    """Read a half-open layer range as users write it.

    Args:
        value: `"10:20"`, a pair, or None for the middle third (`n // 3` up to `2 * n // 3`). An int is
            `"10:20"` after YAML read it as a number in base 60, as Inspect's `-T layers=10:20` does.
        n_layers: Number of decoder blocks of the model.

    Raises:
        InputError: The value is not a range, is empty, or lies outside the model.
    """
    middle = n_layers // 3, max(2 * n_layers // 3, n_layers // 3 + 1)
    hint = (
        f"expected START:STOP with 0 <= START < STOP <= {n_layers} (half-open); "
        f"pass e.g. -T layers={middle[0]}:{middle[1]}"
    )
    if value is None:
        return middle
    parts: object = value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 60:  # YAML leaves 0:30 a string
        parts = divmod(value, 60)
    elif isinstance(value, str):
        parts = value.split(":")
    numbers = [_whole_number(part) for part in parts] if isinstance(parts, list | tuple) else []
    if len(numbers) != 2 or None in numbers:
        raise InputError(f"layers={shown(value)}: {hint}")
    start, stop = cast(LayerRange, numbers)
    if not 0 <= start < stop <= n_layers:
        raise InputError(f"layers={shown(start)}:{shown(stop)}: {hint}")
    return start, stop


def _whole_number(part: object) -> int | None:
    """A number, or a text that is one; None for anything else."""
    if isinstance(part, str) and part.strip().removeprefix("-").isdecimal() and len(part) < 10:
        return int(part)
    return part if isinstance(part, int) and not isinstance(part, bool) else None
