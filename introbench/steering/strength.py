"""How strong injections are on one model: the norms of what they add, whatever they are given in, and their doses.

A strength is resolved once, before arms are made: `Strengths.resolve` gives every injection of a batch its norm, and
whatever needs norms (the arms, the doses, the self-checks) takes them from there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from introbench.engine import Arms, Engine
from introbench.engine.weights import Weights
from introbench.errors import InputError
from introbench.progress import step, tell
from introbench.steering.deltas import side_by_side
from introbench.steering.dose import Carriers, find_norms, rounded
from introbench.steering.injection import Injection, sham
from introbench.steering.vectors import VectorLibrary
from introbench.steering.vectors.store import content_hash

BEGINNING = 0.05
"""Where the search for a norm begins, as a share of the residual norm."""

_DoseOf = tuple[tuple[str, str], ...]
"""What a dose depends on, by name."""

_SHAM: _DoseOf = ()
_NOT_REACHED: _DoseOf = (("norm", "nan"),)


@dataclass(frozen=True)
class ResolvedInjection:
    """An injection with the norm of what it adds.

    Attributes:
        injection: The injection.
        norm: Norm of what it adds at each layer; below 0, the opposite of its vector is added. NaN if no norm has the
            dose that is asked for.
    """

    injection: Injection
    norm: float


class Strengths:
    """Resolves strengths to norms, and measures doses; norms are kept, those found by doses in the store as well.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        library: Its vectors.
        fingerprint: Digest of its weights.
    """

    def __init__(self, engine: Engine, tokenizer: Any, library: VectorLibrary, fingerprint: str) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._library = library
        self._fingerprint = fingerprint
        self._norms: dict[Injection, float] = {}
        self._doses: dict[_DoseOf, float] = {_SHAM: 0.0, _NOT_REACHED: math.nan}

    def resolve(self, injections: Sequence[Injection]) -> tuple[ResolvedInjection, ...]:
        """Injections with the norms of what they add at each layer; those that are given as doses are found together.

        Raises:
            InputError: None of those that are given as doses can be reached, and no other batch stands beside them.
        """
        in_cache = [_in_cache(injection) for injection in injections]
        unknown = [injection for injection in dict.fromkeys(in_cache) if injection not in self._norms]
        self._resolve_given([injection for injection in unknown if injection.like is None])
        by_dose = [injection for injection in unknown if _is_dose(injection) and injection.like is None]
        if by_dose and all(math.isnan(self._norms[i]) for i in by_dose) and not any(i.batch for i in injections):
            start, stop = by_dose[0].layers
            raise InputError(
                f"strength={by_dose[0].strength}: no vector reaches this dose in layers {start}:{stop}; expected one "
                f"that it can have; ask for another, or give a norm"
            )
        self._resolve_controls([injection for injection in unknown if injection.like is not None])
        return tuple(
            ResolvedInjection(injection, self._norms[bare])
            for injection, bare in zip(injections, in_cache, strict=True)
        )

    def arms(
        self, resolved: Sequence[ResolvedInjection], filler: Weights | None = None, prior: int | None = None
    ) -> Arms:
        """The arms of injections, row by row; see `introbench.steering.deltas.side_by_side`."""
        injections, norms = [r.injection for r in resolved], [r.norm for r in resolved]
        return side_by_side(injections, norms, self._library, self._engine.hidden_size, filler, prior)

    def doses(self, resolved: Sequence[ResolvedInjection]) -> list[float]:
        """The doses of injections in nats, as if each were on in the cache alone, and in all of the prior turn.

        Args:
            resolved: The first is a sham.

        Returns:
            One number per injection; NaN where it is not finite.
        """
        in_cache = [ResolvedInjection(_in_cache(r.injection), r.norm) for r in resolved]
        return self._carriers.doses(self.arms(in_cache))

    def doses_of_batch(
        self, resolved: Sequence[ResolvedInjection], parts: Sequence[tuple[Sequence[int], Arms]]
    ) -> list[float | None]:
        """The doses of a batch's injections, None where they are not finite, or other weights fill the cache.

        Args:
            resolved: The injections.
            parts: Rows of the batch, and the arms that run them side by side.
        """
        doses: list[float | None] = [None] * len(resolved)
        for rows, arms in parts:
            if arms.filler is not None:
                continue
            in_cache = [ResolvedInjection(_in_cache(resolved[row].injection), resolved[row].norm) for row in rows]
            for row, dose in zip(rows, self._rounded_doses(in_cache), strict=True):
                doses[row] = dose if math.isfinite(dose) else None
        return doses

    def _resolve_given(self, injections: Sequence[Injection]) -> None:
        """Norms of injections whose strength is their own: as it is given, a share of a norm, or found by its dose."""
        for injection in injections:
            strength = injection.strength
            if injection.vector is None or strength.number == 0:
                self._norms[injection] = 0.0
            elif strength.unit == "residual":
                share = self._library.residual_norm(injection.layers) / self._library.length(injection)
                self._norms[injection] = strength.number * share
            elif strength.unit != "kl":
                self._norms[injection] = strength.number
        self._find_norms({i: abs(i.strength.number) for i in injections if i not in self._norms})

    def _resolve_controls(self, controls: Sequence[Injection]) -> None:
        """Norms of control vectors, from those, or from the doses, of the vectors that they are controls of."""
        for control in controls:
            if control.vector is None or control.strength.number == 0:
                self._norms[control] = 0.0
        controls = [control for control in controls if control not in self._norms]
        if not controls:
            return
        # The opposite of a vector is like that vector, which pushes the other way.
        signs = [-1.0 if control.vector == control.like else 1.0 for control in controls]
        models = [
            replace(control, vector=control.like, like=None, match="norm", strength=control.strength.times(sign))
            for control, sign in zip(controls, signs, strict=True)
        ]
        self._resolve_given([model for model in dict.fromkeys(models) if model not in self._norms])
        for control, model, sign in zip(controls, models, signs, strict=True):
            if control.match == "norm":
                self._norms[control] = sign * self._norms[model]
        by_impact = {
            control: model for control, model in zip(controls, models, strict=True) if control.match == "impact"
        }
        if by_impact:
            matched = [ResolvedInjection(model, self._norms[model]) for model in by_impact.values()]
            targets = dict(zip(by_impact, self._doses_to_match(matched), strict=True))
            self._find_norms(targets, {control: abs(self._norms[model]) for control, model in by_impact.items()})

    def _doses_to_match(self, resolved: Sequence[ResolvedInjection]) -> list[float]:
        """The doses that others are to have; they are kept in the store, so that later runs find equal norms."""
        kept = {each: self._library.store.load(dict(self._dose_of(each))) for each in resolved}
        doses = {each: float(dose) for each, dose in kept.items() if dose is not None}
        unknown = [each for each, dose in kept.items() if dose is None]
        for each, dose in zip(unknown, self._rounded_doses(unknown), strict=True):
            doses[each] = dose
            if math.isfinite(dose):
                self._library.store.save(dict(self._dose_of(each)), torch.tensor(dose, dtype=torch.float64))
        return [doses[each] for each in resolved]

    def _rounded_doses(self, resolved: Sequence[ResolvedInjection]) -> list[float]:
        """The doses of injections into the cache alone; those that were not measured yet are measured together.

        They are rounded, so that neither they nor what is found by them depend on which others are measured beside.
        None comes from the store: a record says what the model at hand does.
        """
        keys = [self._dose_of(each) for each in resolved]
        unknown = {key: each for key, each in zip(keys, resolved, strict=True) if key not in self._doses}
        if unknown:
            measured = self._measured(
                [each.injection for each in unknown.values()], [each.norm for each in unknown.values()]
            )
            self._doses |= {key: rounded(dose) for key, dose in zip(unknown, measured, strict=True)}
        return [self._doses[key] for key in keys]

    def _dose_of(self, resolved: ResolvedInjection) -> _DoseOf:
        """The key of the dose of an injection into the cache alone."""
        if resolved.injection.vector is None:
            return _SHAM
        if math.isnan(resolved.norm):
            return _NOT_REACHED
        return tuple(self._key(resolved.injection, "dose_of", norm=f"{resolved.norm:.9g}").items())

    def _find_norms(
        self, doses: Mapping[Injection, float], beginnings: Mapping[Injection, float] | None = None
    ) -> None:
        """Find the norms at which injections have some doses, from the store where they are kept.

        Args:
            doses: The dose of each injection, in nats.
            beginnings: The norm at which the search for that of each injection begins; by default `BEGINNING`.
        """
        wanted: list[Injection] = []
        for injection, dose in doses.items():
            if not (dose > 0 and math.isfinite(dose)):  # nothing can be like what has no dose
                self._norms[injection] = math.nan
                continue
            kept = self._library.store.load(self._key(injection, "norm_of", dose=f"{dose:.6g}"))
            if kept is None:
                wanted.append(injection)
            else:
                self._norms[injection] = _sign(injection) * float(kept)
        if not wanted:
            return

        def measure(norms: Mapping[int, float]) -> list[float]:
            tried = [ResolvedInjection(wanted[number], _sign(wanted[number]) * norm) for number, norm in norms.items()]
            return self._rounded_doses(tried)

        begin = BEGINNING * self._library.residual_norm(next(iter(doses)).layers)
        starts = [beginnings[i] if beginnings else begin / self._library.length(i) for i in wanted]
        with step(f"finding the strength of {len(wanted)} vectors by their doses"):
            norms = find_norms(measure, [doses[injection] for injection in wanted], starts)
        for injection, norm in zip(wanted, norms, strict=True):
            if math.isnan(norm):
                start, stop = injection.layers
                tell(f"{injection.label}: {doses[injection]:.3g} nats are not reached in layers {start}:{stop}")
            else:
                key = self._key(injection, "norm_of", dose=f"{doses[injection]:.6g}")
                self._library.store.save(key, torch.tensor(norm, dtype=torch.float64))
            self._norms[injection] = _sign(injection) * norm

    def _measured(self, injections: Sequence[Injection], norms: Sequence[float]) -> list[float]:
        """The doses of injections at some norms."""
        resolved = [ResolvedInjection(injection, norm) for injection, norm in zip(injections, norms, strict=True)]
        return self._carriers.doses(self.arms([ResolvedInjection(sham(injections[0].layers), 0.0), *resolved]))[1:]

    def _key(self, injection: Injection, kept: str, **of: str) -> dict[str, str]:
        """The key under which a norm or a dose of an injection is kept.

        Args:
            injection: The injection.
            kept: What is kept: `norm_of` or `dose_of`.
            **of: What it is the norm or the dose of.
        """
        directions = self._library.directions_of(injection)
        assert directions is not None
        sign = "-" if _sign(injection) < 0 else ""
        return {
            "weights": self._fingerprint,
            kept: sign + content_hash(directions),
            "layers": f"{injection.layers[0]}:{injection.layers[1]}",
            "carriers": self._carriers.digest,
            **of,
        }

    @cached_property
    def _carriers(self) -> Carriers:
        return Carriers(self._engine, self._tokenizer)


def _in_cache(injection: Injection) -> Injection:
    """The injection into the cache alone, and into all of the prior turn: what norms and doses are those of."""
    return replace(injection, steering="cache", filler=None, spans=(), batch=0)


def _is_dose(injection: Injection) -> bool:
    return injection.strength.unit == "kl" and injection.vector is not None and injection.strength.number != 0


def _sign(injection: Injection) -> float:
    return -1.0 if injection.strength.number < 0 else 1.0
