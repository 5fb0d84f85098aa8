"""The layer ranges and strengths of a sweep, and the injections of its cells."""

from dataclasses import dataclass
from functools import cached_property

from introbench.errors import InputError, shown
from introbench.records.arm import CONCEPT, RANDOM, SHAM, Arm
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import Injection, LayerRange, Strength, VectorRecipe, parse_layers, sham

FACTORS = (0.125, 1.0, 8.0)
"""Default strengths as multiples of the model's own: a log scale up to where control questions break, too."""


@dataclass(frozen=True)
class Grid:
    """The cells of a sweep and the vectors that are injected in each.

    Attributes:
        ranges: Layer ranges.
        strengths: Strengths.
        vectors: Concepts' vectors, and random ones after them.
    """

    ranges: tuple[LayerRange, ...]
    strengths: tuple[Strength, ...]
    vectors: tuple[VectorRecipe, ...]

    @cached_property
    def batch(self) -> ArmBatch:
        """All injections. Ranges that start together share a batch, in which each vector's ranges stand together.

        So the engine runs them as one up to where the shortest of them ends.
        """
        return ArmBatch(tuple(injection for _, injection in self._in_batches))

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by name, with their rows, in the order of the axes; before the cells of a range stands its sham."""
        rows = {name: row for row, (name, _) in enumerate(self._in_batches)}
        return {name: _arm(injection, rows[name]) for name, injection in self._by_range}

    @cached_property
    def _by_range(self) -> tuple[tuple[str, Injection], ...]:
        starts = sorted({start for start, _ in self.ranges})
        named = []
        for layers in self.ranges:
            where, batch = range_text(layers), starts.index(layers[0])
            named.append((f"sham {where}", sham(layers, batch)))
            for strength in self.strengths:
                for vector in self.vectors:
                    injection = Injection(vector, layers, strength, batch=batch)
                    named.append((f"{vector.label} {where} x{strength}", injection))
        return tuple(named)

    @cached_property
    def _in_batches(self) -> tuple[tuple[str, Injection], ...]:
        in_range = 1 + len(self.strengths) * len(self.vectors)
        order = sorted(
            range(len(self._by_range)), key=lambda number: (self._by_range[number][1].batch, number % in_range)
        )
        return tuple(self._by_range[number] for number in order)

    @property
    def axes(self) -> dict[str, list[str]]:
        """Names of the axes of a trial's array of shifts, and what stands along each."""
        return {
            "layers": [range_text(layers) for layers in self.ranges],
            "strength": [str(strength) for strength in self.strengths],
            "vector": [vector.label for vector in self.vectors],
        }


def _arm(injection: Injection, row: int) -> Arm:
    if injection.vector is None:
        return Arm(SHAM, row, place=range_text(injection.layers))
    kind = RANDOM if injection.vector.is_random else CONCEPT
    return Arm(kind, row, place=f"{range_text(injection.layers)} x{injection.strength}")


def parse_ranges(value: object, n_layers: int, first: int = 0) -> tuple[LayerRange, ...]:
    """Read which layer ranges a sweep runs.

    Args:
        value: "triangle:N": every range between N + 1 evenly spaced boundaries; "single" or "single:STEP": every
            STEP-th layer by itself; or ranges as START:STOP. "triangle:6" by default.
        n_layers: Number of decoder blocks.
        first: Where triangles and single layers begin.

    Raises:
        InputError: It is none of these, or a range stands twice.
    """
    text = "triangle:6" if value is None else value
    if isinstance(text, str) and text.partition(":")[0] in ("triangle", "single"):
        kind, _, number = text.partition(":")
        count = _count(number, n_layers) if number else 1
        if count >= 1 and kind == "single":
            return tuple((layer, layer + 1) for layer in range(first, n_layers, count))
        if count >= 1 and number:
            bounds = sorted({first + round(step * (n_layers - first) / count) for step in range(count + 1)})
            return tuple((start, stop) for start in bounds for stop in bounds if start < stop)
    else:
        listed = text if isinstance(text, list | tuple) else [text]
        ranges = [parse_layers(layers, n_layers) for layers in listed if layers is not None]
        if ranges and len(set(ranges)) == len(ranges):
            return tuple(sorted(ranges))
    raise InputError(
        f"ranges={shown(value)}: expected triangle:N, single, single:STEP, or START:STOP each once; "
        f"pass e.g. -T ranges=triangle:6"
    )


def _count(text: str, most: int) -> int:
    """A whole number as users write it, or `most` if that is less; 0 for other texts."""
    digits = text.lstrip("0") if text.isdecimal() else ""
    return min(int(digits), most) if 0 < len(digits) < 10 else most if digits else 0


def range_text(layers: LayerRange) -> str:
    """A range as users write it."""
    return f"{layers[0]}:{layers[1]}"
