"""One question under a few arms of a bank, held against a plain computation: the numbers of a run's self-checks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from introbench.checks.record import Value
from introbench.checks.reference import Added, plain_logprobs
from introbench.checks.watch import Watched, watching
from introbench.engine import Arms, Engine, Reading, Request, Want, Weights
from introbench.engine.proof import tolerance
from introbench.errors import SelfCheckError
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.steering.injection import Injection
from introbench.steering.strength import Strengths
from introbench.steering.vectors import VectorLibrary

Parts = Sequence[tuple[Sequence[int], Arms]]
"""Rows of a bank, and the arms that run them side by side."""

_GRID = 256
"""Logits that were rounded to half precision differ by multiples of 1 / this, unless they are tiny."""

_ALIKE = 0.95
"""Cosine from which on two vectors cannot be told apart by where they push."""

_NOISE = 3.0
"""In half precision, how many times as far from a plain pass as another plain computation of the same may be."""


class AgainstPlain:
    """Holds one question's numbers under a few rows of a bank against a plain computation.

    The rows are the sham, and the first and the last that are injected. The engine's numbers are those of the run;
    those that it gives again, once everything else has used its cache; and those that it gives afresh, with these rows
    alone, while it is watched.
    """

    def __init__(
        self,
        engine: Engine,
        library: VectorLibrary,
        strengths: Strengths,
        asked: TokenizedQuestion,
        bank: Sequence[Injection],
        parts: Parts,
    ) -> None:
        self._engine = engine
        self._library = library
        self._strengths = strengths
        self._chat, self._want = asked.chat, Want(asked.want.forms, asked.want.top)
        self._bank = bank
        self._parts = parts
        self._tolerance = tolerance(engine.model.dtype)
        self._resolved = strengths.resolve(bank)
        self._norms = [resolved.norm for resolved in self._resolved]
        self._plain: Callable[[int], Tensor] = cache(self._computed)

    def check(self, run: Reading) -> dict[str, Value]:
        """Check the numbers of a run.

        Raises:
            SelfCheckError: They are not those of the plain computation.
        """
        sham = sham_row(self._bank)
        assert sham is not None
        injected = [
            row
            for row, each in enumerate(self._bank)
            if run.finite[row]
            and (each.filler or (each.vector and math.isfinite(self._norms[row]) and self._norms[row]))
        ]
        ends = list(dict.fromkeys([injected[0], injected[-1]])) if injected else []
        in_float32 = self._float32_readout(run, sham)
        rows, arms = next(part for part in self._parts if sham in part[0])
        again = self._read(arms)
        self._engine.release()
        seen = [(group, *self._watched(group)) for group in self._grouped([sham, *ends])]
        whole, part = _Numbers("the run", range(len(self._bank)), run), _Numbers("a second reading", rows, again)
        fresh = [_Numbers("a reading of its own", group, reading) for group, reading, _ in seen]
        self._in_order([whole, part, *fresh], [sham, *ends])
        for group, _, watched in seen:
            self._ran_as_written(group, watched)
        plain = self._sham_is_plain(fresh[0], sham)
        clean = max(self._fits("cache is clean", each, row) for each in (whole, part) for row in each.among([sham]))
        spans = [self._fits("spans", each, row) for each in fresh for row in each.among(ends)]
        for row in ends:
            self._fits("cache is clean", whole, row)
        blind = [watched.blind for _, _, watched in seen if watched.blind]
        return {
            "float32 readout": in_float32,
            "sham is plain": plain,
            "cache is clean": clean,
            "spans": self._said(max(spans, default=math.nan), blind, bool(ends)),
            "arms in order": self._told_apart([sham, *ends], [watched for _, _, watched in seen]),
        }

    def _float32_readout(self, run: Reading, sham: int) -> Value:
        """Differences between logits that were rounded to half precision are multiples of a power of 2."""
        if self._engine.readout is None:
            return "not checked: the model's own logits are read"
        top = run.top_logprobs[sham]
        if _on_grid(top):
            own = self._engine.model.dtype == torch.float32 and self._plain(sham)[run.top_ids[sham]]
            # A float32 model may have such logits; in half precision its own are rounded, and tell nothing.
            if own is False or not _on_grid(own):
                raise SelfCheckError(
                    "float32 readout", f"log-probabilities {top.tolist()} in steps of 1/{_GRID}", "float32 logits"
                )
        return "ok"

    def _read(self, arms: Arms) -> Reading:
        (reading,) = self._engine.read([Request(self._chat.tokens, self._chat.prior, self._want, arms)])
        return reading

    def _watched(self, group: Sequence[int]) -> tuple[Reading, Watched]:
        """Read some rows afresh, looking at the first block where anything is to be added."""
        filler = self._filler(group[0])
        arms = self._strengths.arms([self._resolved[row] for row in group], filler, self._chat.prior)
        added = [self._added(row).vectors for row in group]
        steered = {block for vectors in added for block, vector in vectors.items() if vector.any()}
        block = min(steered - {self._engine.n_layers - 1}, default=None)
        nothing = torch.zeros(self._engine.hidden_size)
        vectors = torch.stack([nothing if block is None else each.get(block, nothing) for each in added])
        several = [self._engine.weights, *([filler] if filler else [])]
        with watching(several, block, vectors, len(self._chat.tokens)) as seen:
            reading = self._read(arms)
        return reading, seen

    def _in_order(self, several: Sequence["_Numbers"], rows: Sequence[int]) -> None:
        """A row that does not have its own numbers must not have them at another row, which lacks its own."""
        for each in several:
            for row in each.among(rows):
                if self._distance(each, row) <= self._allowed(row, self._distance(each, row)):
                    continue
                for other in each.rows:
                    if other == row or not self._distance(each, other, as_if=row) <= self._tolerance:
                        continue
                    if self._distance(each, other) > self._tolerance:
                        raise SelfCheckError(
                            "arms in order",
                            f"in {each.source} the numbers of {_name(self._bank[row])} at {_name(self._bank[other])}",
                            "every arm to have its own",
                        )

    def _ran_as_written(self, group: Sequence[int], seen: Watched) -> None:
        """The engine ran the chat's tokens, and added to each what belongs there."""
        if all(seen.ids):
            for position, (ids, token) in enumerate(zip(seen.ids, self._chat.tokens, strict=True)):
                if ids != {token}:
                    raise SelfCheckError("spans", f"tokens {sorted(ids)} at position {position}", f"token {token}")
        else:
            seen.blind = seen.blind or "the model is not told its positions"
        if not seen.blind and (wrong := self._wrongly_steered(group, seen)):
            # Of some architectures, blocks may hand on something else than their output, whatever is added to it.
            with watching([self._engine.weights], seen.block, seen.vectors[:1], len(self._chat.tokens)) as clean:
                self._computed(group[0], Added({}, torch.zeros(len(self._chat.tokens))))
            if not clean.gained.any():
                raise wrong
            seen.blind = "blocks of this model hand on something else than their output"

    def _wrongly_steered(self, group: Sequence[int], seen: Watched) -> SelfCheckError | None:
        for index, row in enumerate(group):
            shares, steered = self._added(row).shares, seen.gained[index].nonzero()[:, 0].tolist()
            expected = shares.nonzero()[:, 0].tolist() if seen.vectors[index].any() else []
            if expected and not steered and self._engine.model.dtype != torch.float32:
                seen.blind = "what is added is as small as rounding"
            elif steered != expected:
                where = f"{_name(self._bank[row])} added at tokens {_stretches(steered)}"
                return SelfCheckError("spans" if expected else "sham is plain", where, _stretches(expected))
            elif expected and (other := self._pushed_along(index, seen.vectors, seen.total * shares.sum().sign())):
                pushed = f"{_name(self._bank[row])} pushed along the vector of {_name(self._bank[group[other]])}"
                return SelfCheckError("arms in order", pushed, "its own")
        return None

    def _pushed_along(self, index: int, vectors: Tensor, total: Tensor) -> int | None:
        """Another row along whose vector a row was pushed, rather than along its own."""
        other = int(cosine_similarity(total[index], vectors, dim=-1).argmax())
        alike = cosine_similarity(vectors[index], vectors[other], dim=0) > _ALIKE
        return None if other == index or alike else other

    def _sham_is_plain(self, fresh: "_Numbers", sham: int) -> float:
        found = self._distance(fresh, sham)
        if found <= self._allowed(sham, found):
            return found
        # Alone in its batch and with nothing kept, it is as plain as it can be: then others have spoilt it.
        self._engine.release()
        alone = self._strengths.arms([self._resolved[sham]], None, self._chat.prior)
        by_itself = self._distance(_Numbers("a reading by itself", [sham], self._read(alone)), sham)
        self._refuse("cache is clean" if by_itself <= self._tolerance else "sham is plain", fresh, sham, found)
        return found

    def _fits(self, name: str, numbers: "_Numbers", row: int) -> float:
        found = self._distance(numbers, row)
        if not found <= self._allowed(row, found):
            self._refuse(name, numbers, row, found)
        return found

    def _refuse(self, name: str, numbers: "_Numbers", row: int, found: float) -> None:
        raise SelfCheckError(
            name,
            f"log-probabilities of {_name(self._bank[row])} {found:.2g} nats off in {numbers.source}",
            f"within {self._tolerance:g} of one plain pass over the same tokens",
        )

    def _said(self, worst: float, blind: Sequence[str], is_injected: bool) -> Value:
        if not is_injected:
            return "not checked: nothing is injected"
        if blind and self._engine.model.dtype != torch.float32:
            return f"not checked: rounding hides single tokens, and {blind[0]}"
        return worst

    def _told_apart(self, rows: Sequence[int], seen: Sequence[Watched]) -> Value:
        """How far the numbers of the rows are from each other: by so much would a wrong order show."""
        apart = [
            float((self._plain(row) - self._plain(other))[list(self._want.forms)].square().mean().sqrt())
            for index, row in enumerate(rows)
            for other in rows[:index]
        ]
        if not apart:
            return "not checked: nothing is injected"
        if min(apart) > 2 * self._tolerance:
            return min(apart)
        # Then what was added must tell them apart.
        steered = sum(int(each.vectors.any(dim=-1).sum()) for each in seen if not each.blind)
        return "ok" if steered == len(rows) - 1 else f"not checked: arms are within {min(apart):.2g} nats of each other"

    def _distance(self, numbers: "_Numbers", row: int, as_if: int | None = None) -> float:
        """Root mean square difference of a row's log-probabilities from plain ones, its own or another row's."""
        reading, index = numbers.reading, numbers.rows.index(row)
        ids = [*self._want.forms, *reading.top_ids[index].tolist()]
        found = torch.cat([reading.forms[index], reading.top_logprobs[index]]).double()
        plain = self._plain(row if as_if is None else as_if)[ids]
        return float((found - plain).square().mean().sqrt().nan_to_num(nan=math.inf))

    def _allowed(self, row: int, found: float) -> float:
        """How far a row's numbers may be from plain ones.

        Where rounding in half precision is larger than tolerated, it is found out how large it is for these tokens: a
        plain computation in two passes, with transformers' own cache, is as right as that in one.
        """
        if found <= self._tolerance or self._engine.model.dtype == torch.float32 or self._filler(row):
            return self._tolerance
        chat, weights = self._chat, self._engine.weights
        in_two = plain_logprobs(weights, chat.tokens, chat.prior, self._added(row), filler=weights)
        noise = (in_two - self._plain(row))[list(self._want.forms)].square().mean().sqrt()
        return max(self._tolerance, _NOISE * float(noise.nan_to_num(nan=0.0)))

    def _computed(self, row: int, added: Added | None = None) -> Tensor:
        added = added or self._added(row)
        return plain_logprobs(self._engine.weights, self._chat.tokens, self._chat.prior, added, self._filler(row))

    def _added(self, row: int) -> Added:
        """What an injection adds, from its recipe alone."""
        injection, prior = self._bank[row], self._chat.prior
        shares = torch.zeros(len(self._chat.tokens))
        shares[:prior] = 0.0 if injection.spans else 1.0
        for begin, end, share in injection.spans:
            shares[begin:end] = share
        if injection.steering == "active":
            shares[prior:] = 1.0
        directions = self._library.directions_of(injection)
        if directions is None or self._norms[row] == 0:
            return Added({}, shares)
        return Added({block: self._norms[row] * directions[block] for block in range(*injection.layers)}, shares)

    def _filler(self, row: int) -> Weights | None:
        return next(arms.filler for rows, arms in self._parts if row in rows)

    def _grouped(self, rows: Sequence[int]) -> list[list[int]]:
        """Rows that the same weights read, the first one's first."""
        groups: dict[str | None, list[int]] = {}
        for row in rows:
            groups.setdefault(self._bank[row].filler, []).append(row)
        return list(groups.values())


@dataclass(frozen=True)
class _Numbers:
    """What an engine gave for some rows of a bank."""

    source: str
    rows: Sequence[int]
    reading: Reading

    def among(self, rows: Sequence[int]) -> list[int]:
        """Those of some rows that are there."""
        return [row for row in rows if row in self.rows]


def sham_row(bank: Sequence[Injection]) -> int | None:
    """The first row of a bank to which nothing is done."""
    return next((row for row, each in enumerate(bank) if each.vector is None and each.filler is None), None)


def _on_grid(logprobs: Tensor) -> bool:
    """Whether log-probabilities, of which there are some, differ by multiples of a power of 2."""
    steps = (logprobs[1:] - logprobs[0]).double() * _GRID
    return len(steps) > 2 and bool(((steps - steps.round()).abs() < 2e-3).all())


def _name(injection: Injection) -> str:
    return f"arm {injection.label!r}"


def _stretches(positions: Sequence[int]) -> str:
    """Positions as half-open ranges: `0:40, 52:60`."""
    ranges: list[list[int]] = []
    for position in positions:
        if ranges and ranges[-1][1] == position:
            ranges[-1][1] += 1
        else:
            ranges.append([position, position + 1])
    return ", ".join(f"{begin}:{end}" for begin, end in ranges) or "none"
