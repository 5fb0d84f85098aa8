"""How strong injections are on one model: the norms of what they add, whatever they are given in, and their doses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from introbench.engine import Arms, Engine
from introbench.engine.weights import Weights
from introbench.errors import InputError
from introbench.progress import tell
from introbench.steering.deltas import side_by_side
from introbench.steering.dose import Carriers, find_norms
from introbench.steering.injection import Injection, sham
from introbench.steering.vectors import VectorLibrary
from introbench.steering.vectors.store import content_hash

BEGINNING = 0.05
"""Where the search for a norm begins, as a share of the residual norm."""


class Strengths:
    """Finds the norms and the doses of injections; norms are kept, those found by doses in the store as well.

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

    def arms(self, injections: Sequence[Injection], filler: Weights | None = None, prior: int | None = None) -> Arms:
        """The arms of injections, row by row; see `introbench.steering.deltas.side_by_side`."""
        return self._arms(injections, self.norms(injections), filler, prior)

    def _arms(
        self,
        injections: Sequence[Injection],
        norms: Sequence[float],
        filler: Weights | None = None,
        prior: int | None = None,
    ) -> Arms:
        return side_by_side(injections, norms, self._library, self._engine.hidden_size, filler, prior)

    def doses(self, injections: Sequence[Injection]) -> list[float]:
        """The doses of injections in nats, as if each were on in the cache alone, and in all of the prior turn.

        Args:
            injections: The first is a sham.

        Returns:
            One number per injection; NaN where it is not finite.
        """
        return self._carriers.doses(self.arms([_plain(each) for each in injections]))

    def doses_in(self, bank: Sequence[Injection], parts: Sequence[tuple[Sequence[int], Arms]]) -> list[float | None]:
        """The doses of a bank's injections, None where they are not finite, or other weights fill the cache.

        Args:
            bank: The injections.
            parts: Rows of the bank, and the arms that run them side by side.
        """
        doses: list[float | None] = [None] * len(bank)
        for rows, arms in parts:
            if arms.filler is None:
                plain = [_plain(bank[row]) for row in rows]
                distinct = list(dict.fromkeys(plain))
                # Arms that are plain already have caches that can be used again.
                same = distinct == [bank[row] for row in rows]
                measured = self._carriers.doses(arms if same else self.arms(distinct))
                by_injection = dict(zip(distinct, measured, strict=True))
                for row, injection in zip(rows, plain, strict=True):
                    doses[row] = by_injection[injection] if math.isfinite(by_injection[injection]) else None
        return doses

    def norms(self, injections: Sequence[Injection]) -> list[float]:
        """The norms of what injections add at each layer; those that are given as doses are found together.

        Args:
            injections: Below 0, the opposite of their vector is added.

        Returns:
            One number per injection; NaN where no norm has the dose that is asked for.

        Raises:
            InputError: None of those that are given as doses can be reached, and no other batch stands beside them.
        """
        plain = [_plain(each) for each in injections]
        unknown = [each for each in dict.fromkeys(plain) if each not in self._norms]
        for each in unknown:
            if each.vector is None or each.strength.number == 0:
                self._norms[each] = 0.0
            elif each.like is None and each.strength.unit != "kl":
                residual = each.strength.unit == "residual"
                scale = self._library.residual_norm(each.layers) if residual else 1.0
                self._norms[each] = each.strength.number * scale
        by_dose = [each for each in unknown if each not in self._norms and each.like is None]
        self._find_norms(by_dose, [abs(each.strength.number) for each in by_dose])
        if by_dose and all(math.isnan(self._norms[each]) for each in by_dose) and not any(i.batch for i in injections):
            raise InputError(
                f"strength={by_dose[0].strength}: no vector reaches this dose in layers "
                f"{by_dose[0].layers[0]}:{by_dose[0].layers[1]}; expected one that it can have; ask for another, or "
                f"give a norm"
            )
        self._find_like([each for each in unknown if each not in self._norms])
        return [self._norms[each] for each in plain]

    def _find_like(self, controls: Sequence[Injection]) -> None:
        """Find the norms of controls from those, or from the doses, of the vectors that they are controls of."""
        if not controls:
            return
        # The opposite of a vector is like that vector, which pushes the other way.
        turned = [-1.0 if each.vector == each.like else 1.0 for each in controls]
        models = [
            replace(each, vector=each.like, like=None, strength=each.strength.times(sign))
            for each, sign in zip(controls, turned, strict=True)
        ]
        norms = self.norms(models)
        for each, sign, norm in zip(controls, turned, norms, strict=True):
            if each.match == "norm":
                self._norms[each] = sign * norm
        by_impact = [number for number, each in enumerate(controls) if each.match == "impact"]
        doses = self._measured(models, norms) if by_impact else []
        self._find_norms([controls[number] for number in by_impact], [doses[number] for number in by_impact])

    def _find_norms(self, injections: Sequence[Injection], doses: Sequence[float]) -> None:
        """Find the norms at which injections have some doses, from the store where they are kept."""
        signs = [-1.0 if each.strength.number < 0 else 1.0 for each in injections]
        keys = [self._norm_key(each, dose) for each, dose in zip(injections, doses, strict=True)]
        wanted: list[int] = []
        for index, (each, key) in enumerate(zip(injections, keys, strict=True)):
            if not (doses[index] > 0 and math.isfinite(doses[index])):  # nothing can be like what has no dose
                self._norms[each] = math.nan
                continue
            kept = self._library.store.load(key)
            if kept is None:
                wanted.append(index)
            else:
                self._norms[each] = signs[index] * float(kept)
        if not wanted:
            return
        tell(f"finding the strength of {len(wanted)} vectors by their doses")
        some = [injections[index] for index in wanted]

        def measure(norms: Sequence[float]) -> list[float]:
            return self._measured(some, [signs[index] * norm for index, norm in zip(wanted, norms, strict=True)])

        beginning = BEGINNING * self._library.residual_norm(injections[0].layers)
        found = find_norms(measure, [doses[index] for index in wanted], beginning)
        for index, norm in zip(wanted, found, strict=True):
            if math.isnan(norm):
                start, stop = injections[index].layers
                tell(f"{injections[index].label}: {doses[index]:.3g} nats are not reached in layers {start}:{stop}")
            else:
                self._library.store.save(keys[index], torch.tensor(norm, dtype=torch.float64))
            self._norms[injections[index]] = signs[index] * norm

    def _measured(self, injections: Sequence[Injection], norms: Sequence[float]) -> list[float]:
        """The doses of injections at some norms."""
        return self._carriers.doses(self._arms([sham(injections[0].layers), *injections], [0.0, *norms]))[1:]

    def _norm_key(self, injection: Injection, dose: float) -> dict[str, str]:
        directions = self._library.directions_of(injection)
        assert directions is not None
        sign = "-" if injection.strength.number < 0 else ""
        return {
            "weights": self._fingerprint,
            "norm_of": sign + content_hash(directions),
            "layers": f"{injection.layers[0]}:{injection.layers[1]}",
            "dose": f"{dose:.6g}",
            "carriers": self._carriers.digest,
        }

    @cached_property
    def _carriers(self) -> Carriers:
        return Carriers(self._engine, self._tokenizer)


def _plain(injection: Injection) -> Injection:
    """An injection into the cache alone, and into all of the prior turn: what norms and doses are those of."""
    return replace(injection, steering="cache", filler=None, spans=(), batch=0)
