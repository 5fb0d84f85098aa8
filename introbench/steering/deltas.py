"""What injections of known norms add to the residual stream, side by side in one batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from introbench.engine import Arms
from introbench.engine.requests import NO_DELTAS
from introbench.engine.weights import Weights
from introbench.errors import InputError
from introbench.steering.injection import Injection, LayerRange
from introbench.steering.vectors import VectorLibrary


def side_by_side(
    injections: Sequence[Injection],
    norms: Sequence[float],
    library: VectorLibrary,
    hidden: int,
    filler: Weights | None = None,
    prior: int | None = None,
) -> Arms:
    """What is added at each layer, one row per injection, while the prior turn and while the question is read.

    Args:
        injections: Row by row.
        norms: Of what each adds at each layer.
        library: Their vectors.
        hidden: Width of the residual stream.
        filler: Weights that fill the prior turn's cache in place of those that answer.
        prior: Tokens of the prior turn, for injections that steer some of them; None to steer all of them in full.
    """
    added = [
        _Added(injection.layers, norm, library.directions_of(injection), injection.steering == "active")
        for injection, norm in zip(injections, norms, strict=True)
    ]
    active = [one if one.is_active else replace(one, vector=None) for one in added]
    return Arms.steered(
        _Deltas(added, hidden),
        _Deltas(active, hidden) if any(one.is_active for one in added) else NO_DELTAS,
        filler,
        None if prior is None else _profile(injections, prior),
    )


@dataclass(frozen=True, eq=False)
class _Added:
    """What one injection adds: a norm times unit vectors [all layers, hidden], in some layers."""

    layers: LayerRange
    norm: float
    vector: Tensor | None
    is_active: bool


class _Deltas(Mapping[int, Tensor]):
    """What injections add at each layer, [injections, hidden], made when it is asked for.

    Kept, it would grow with the cells of a sweep.
    """

    def __init__(self, added: Sequence[_Added], hidden: int) -> None:
        self._added = tuple(added)
        self._hidden = hidden
        self._layers = sorted({layer for one in added for layer in range(*one.layers)})

    def __getitem__(self, layer: int) -> Tensor:
        if layer not in self._layers:
            raise KeyError(layer)
        rows = torch.zeros(len(self._added), self._hidden)
        for row, one in enumerate(self._added):
            if one.vector is not None and one.layers[0] <= layer < one.layers[1]:
                rows[row] = one.norm * one.vector[layer]
        return rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def _profile(injections: Sequence[Injection], prior: int) -> Tensor | None:
    """By how much each token of a prior turn is steered, [injections, prior]; None for all of them in full."""
    if not any(injection.spans for injection in injections):
        return None
    profile = torch.ones(len(injections), prior)
    for row, injection in enumerate(injections):
        if injection.spans:
            profile[row] = 0
        for begin, end, share in injection.spans:
            if end > prior:
                raise InputError(f"span {begin}:{end}: expected it within the prior turn's {prior} tokens; correct it")
            profile[row, begin:end] = share
    return profile
