"""What every run checks about itself while it runs, by name: a run whose numbers cannot be trusted ends.

Some checks look at texts and vectors, some hold the engine's numbers against a plain computation
(`introbench.plain_reference`). They are made where a bank is first run; the expensive ones on banks 1, 2, 4, 8 and so
on, so that a run with many banks does not spend its time on them, and two runs of a task make the same ones.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from introbench.asked import Asked, Written
from introbench.engine import Arms, Engine, Reading, Request, Want, Weights
from introbench.engine.memory import is_out_of_memory
from introbench.engine.proof import tolerated
from introbench.errors import InputError
from introbench.injection import MODEL_CONTRAST, Injection
from introbench.plain_reference import Added, plain_logprobs
from introbench.strengths import Strengths
from introbench.vectors import VectorLibrary
from introbench.watch import Watched, watching

Value = float | str
"""What a check found: a number, "ok", or "not checked: why"."""
Parts = Sequence[tuple[Sequence[int], Arms]]
"""Rows of a bank, and the arms that run them side by side."""

AGAINST_PLAIN = ("sham is plain", "cache is clean", "spans", "arms in order")
"""The checks that hold numbers against a plain computation, in nats."""
_NORM_TOLERANCE = 1e-3
"""Largest accepted relative difference between a strength as it is recorded and what is added."""
_ABSURD = 1e18
"""Strengths above have squares that float32 cannot hold; their arms are not finite, and are counted as such."""
_GRID = 256
"""Logits that were rounded to half precision differ by multiples of 1 / this, unless they are tiny."""
_ALIKE = 0.95
"""Cosine from which on two vectors cannot be told apart by where they push."""


class SelfCheckError(InputError):
    """A self-check failed, so that the run's numbers cannot be trusted; one line that begins with the check's name."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f'self-check "{name}": found {found}, expected {expected}; this run is not to be trusted')


@dataclass
class Record:
    """What a bank's checks found, by name, and the seconds that they took."""

    found: dict[str, Value] = field(default_factory=dict)
    seconds: float = 0.0


class SelfChecks:
    """The checks of one loaded model's runs.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        library: Its vectors.
        strengths: What norms its injections have.
    """

    def __init__(self, engine: Engine, tokenizer: Any, library: VectorLibrary, strengths: Strengths) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._library = library
        self._strengths = strengths
        self._records: dict[tuple[Injection, ...], Record] = {}
        self._texts: dict[Asked, dict[str, Value]] = {}
        self._failure: SelfCheckError | None = None
        self._hooks: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._note_hooks([engine.weights])

    def record(self, bank: tuple[Injection, ...]) -> Record:
        """What was found about a bank that was read."""
        return self._records[bank]

    def before(self, parts: Parts) -> None:
        """Get ready for a reading.

        Raises:
            SelfCheckError: A check has failed before: nothing else is read, even if single errors are put up with.
        """
        if self._failure:
            raise self._failure
        self._note_hooks(_weights_of(self._engine, parts))

    def after(
        self, several: Sequence[Asked], bank: tuple[Injection, ...], parts: Parts, readings: Sequence[Reading]
    ) -> None:
        """Check what was read.

        Args:
            several: The questions.
            bank: The injections.
            parts: How the bank was run.
            readings: What each of the questions gave.

        Raises:
            SelfCheckError: What a check found is not as it has to be.
        """
        begun = time.perf_counter()
        is_first = bank not in self._records
        record = self._records.setdefault(bank, Record())
        try:
            record.found["hooks gone"] = self._hooks_gone(_weights_of(self._engine, parts))
            record.found |= self._written_checks(several)
            record.found["same shape"] = _same_shape(several, readings, len(bank))
            if is_first:
                record.found["vectors live"] = self._vectors_live(bank, parts)
                record.found["finite"] = _finite(bank, readings)
                record.found |= self._numbers(several[0], bank, parts, readings[0])
        except SelfCheckError as error:
            self._failure = error
            raise
        finally:
            record.seconds += time.perf_counter() - begun

    def _numbers(
        self, asked: Asked, bank: tuple[Injection, ...], parts: Parts, reading: Reading
    ) -> dict[str, Value]:
        names = ("float32 readout", *AGAINST_PLAIN)
        count = len(self._records)
        if count & (count - 1):
            return dict.fromkeys(names, "not checked: on banks 1, 2, 4, 8 and so on of a run alone")
        if _sham_row(bank) is None:
            return dict.fromkeys(names, "not checked: no sham in the bank")
        try:
            return _AgainstPlain(self._engine, self._library, self._strengths, asked, bank, parts).check(reading)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._engine.release()  # outside the handler: the error holds the frames that hold the memory
        return dict.fromkeys(names, "not checked: memory ran out")

    def _note_hooks(self, several: Iterable[Weights]) -> None:
        """Remember how many hooks modules have that were not seen before."""
        for weights in several:
            for module in weights.model.modules():
                self._hooks.setdefault(module, _hooks_on(module))

    def _hooks_gone(self, several: Iterable[Weights]) -> Value:
        for weights in several:
            for name, module in weights.model.named_modules():
                left = _hooks_on(module) - self._hooks.get(module, 0)
                if left > 0:
                    raise SelfCheckError(
                        "hooks gone", f"{left} more on {name or 'the model'} after a reading", "none that stays"
                    )
        return "ok"

    def _written_checks(self, several: Sequence[Asked]) -> dict[str, Value]:
        """Check what questions were made of, each once."""
        for asked in several:
            if asked not in self._texts:
                self._texts[asked] = _written_checks(self._tokenizer, asked)
        return self._texts[several[0]]

    def _vectors_live(self, bank: Sequence[Injection], parts: Parts) -> Value:
        """Every vector is added at every layer of its range, as strong as its record says."""
        worst = 0.0
        norms = self._strengths.norms(bank)
        for rows, arms in parts:
            for layer, delta in arms.deltas.items():
                added = delta.double().norm(dim=-1).tolist()
                for row, found in zip(rows, added, strict=True):
                    injection, norm = bank[row], abs(norms[row])
                    vector = injection.vector
                    inside = injection.layers[0] <= layer < injection.layers[1]
                    if vector is None or not inside or not 0 < norm < _ABSURD:
                        continue
                    expected = f"norm {norm:.6g}, the strength that is recorded"
                    if vector.file or (injection.like and injection.like.file):  # norms of their own
                        expected, norm = "numbers that are finite and not all 0", found if found > 0 else 1.0
                    elif vector.method == MODEL_CONTRAST and found == 0:  # a block that the fine-tune left as it was
                        continue
                    off = abs(found - norm) / norm
                    if not off <= _NORM_TOLERANCE:
                        raise SelfCheckError("vectors live", f"norm {found:.6g} of {_name(injection, layer)}", expected)
                    worst = max(worst, off)
        return worst


class _AgainstPlain:
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
        asked: Asked,
        bank: Sequence[Injection],
        parts: Parts,
    ) -> None:
        self._engine = engine
        self._library = library
        self._strengths = strengths
        self._asked, self._chat, self._want = asked, asked.chat, Want(asked.want.forms, asked.want.top)
        self._bank = bank
        self._parts = parts
        self._tolerance = tolerated(engine.model.dtype)
        self._norms = strengths.norms(bank)
        self._plain: Callable[[int], Tensor] = cache(self._computed)

    def check(self, run: Reading) -> dict[str, Value]:
        """Check the numbers of a run.

        Raises:
            SelfCheckError: They are not those of the plain computation.
        """
        sham = _sham_row(self._bank)
        assert sham is not None
        injected = [
            row
            for row, each in enumerate(self._bank)
            if run.finite[row] and (each.filler or (each.vector and self._norms[row] != 0))
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
        plain = self._sham_is_plain(fresh[0], whole, sham)
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
            "arms in order": self._told_apart([sham, *ends], blind),
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
        arms = self._strengths.arms([self._bank[row] for row in group], filler, self._chat.prior)
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
                if self._distance(each, row) <= self._tolerance:
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

    def _sham_is_plain(self, fresh: "_Numbers", whole: "_Numbers", sham: int) -> float:
        found = self._distance(fresh, sham)
        if found <= self._tolerance:
            return found
        # Alone in its batch and with nothing kept, it is as plain as it can be: then others have spoilt it.
        self._engine.release()
        alone = self._strengths.arms([self._bank[sham]], None, self._chat.prior)
        by_itself = self._distance(_Numbers("a reading by itself", [sham], self._read(alone)), sham)
        self._refuse("cache is clean" if by_itself <= self._tolerance else "sham is plain", fresh, sham, found)
        return found

    def _fits(self, name: str, numbers: "_Numbers", row: int) -> float:
        found = self._distance(numbers, row)
        if not found <= self._tolerance:
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

    def _told_apart(self, rows: Sequence[int], blind: Sequence[str]) -> Value:
        """How far the numbers of the rows are from each other: by so much would a wrong order show."""
        apart = [
            float((self._plain(row) - self._plain(other))[list(self._want.forms)].square().mean().sqrt())
            for index, row in enumerate(rows)
            for other in rows[:index]
        ]
        if not apart:
            return "not checked: nothing is injected"
        if min(apart) <= 2 * self._tolerance and blind:
            return f"not checked: arms are within {min(apart):.2g} nats of each other, and {blind[0]}"
        return min(apart)

    def _distance(self, numbers: "_Numbers", row: int, as_if: int | None = None) -> float:
        """Root mean square difference of a row's log-probabilities from plain ones, its own or another row's."""
        reading, index = numbers.reading, numbers.rows.index(row)
        ids = [*self._want.forms, *reading.top_ids[index].tolist()]
        found = torch.cat([reading.forms[index], reading.top_logprobs[index]]).double()
        plain = self._plain(row if as_if is None else as_if)[ids]
        return float((found - plain).square().mean().sqrt().nan_to_num(nan=math.inf))

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


def _written_checks(tokenizer: Any, asked: Asked) -> dict[str, Value]:
    """Make a question again from what it was made of, and compare."""
    chat, written = asked.chat, asked.written
    begin = tokenizer.bos_token_id
    twice = [at for at, pair in enumerate(zip(chat.tokens, chat.tokens[1:], strict=False)) if pair == (begin, begin)]
    if twice:
        raise SelfCheckError("one BOS", f"{tokenizer.bos_token!r} twice at token {twice[0]}", "one")
    found: dict[str, Value] = {"one BOS": "ok" if begin is not None else "not checked: the tokenizer has no BOS"}
    if written is None:
        return found | dict.fromkeys(("prefix stable", "single tokens"), "not checked: only tokens are known")
    _prefix_stable(tokenizer, asked, written)
    for form, token in zip(written.forms, asked.want.forms, strict=True):
        after = _tokens(tokenizer, chat.text + form)
        if written.first_tokens:
            after = after[: len(chat.tokens) + 1]
        if after != (*chat.tokens, token):
            raise SelfCheckError(
                "single tokens",
                f"answer form {form!r} to be tokens {list(after[len(chat.tokens) - 1 :])} from the chat's last one on",
                f"{[chat.tokens[-1], token]}",
            )
    return found | {"prefix stable": "ok", "single tokens": "ok"}


def _prefix_stable(tokenizer: Any, asked: Asked, written: Written) -> None:
    """The prior turn by itself is what the whole conversation begins with, and is as long as what is steered."""
    messages = [{"role": role, "content": content} for role, content in written.turns]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    prior = tokenizer.apply_chat_template(messages[: written.prior_messages], tokenize=False)
    tokens, alone = _tokens(tokenizer, whole), _tokens(tokenizer, prior)
    if tokens != asked.chat.tokens:
        raise SelfCheckError("spans", f"{len(asked.chat.tokens)} tokens", f"the chat's own {len(tokens)}")
    if tokens[: len(alone)] != alone:
        at = next((at for at, pair in enumerate(zip(tokens, alone, strict=False)) if pair[0] != pair[1]), len(tokens))
        raise SelfCheckError(
            "prefix stable",
            f"another token at {at} when the prior turn is rendered alone",
            f"its {len(alone)} tokens to begin the conversation",
        )
    if len(alone) != asked.chat.prior:
        raise SelfCheckError("spans", f"a prior turn of tokens 0:{asked.chat.prior}", f"0:{len(alone)}")


def _same_shape(several: Sequence[Asked], readings: Sequence[Reading], rows: int) -> Value:
    """All arms have the same numbers, in float32."""
    for asked, reading in zip(several, readings, strict=True):
        shapes = {
            "forms": (reading.forms, (rows, len(asked.want.forms))),
            "top": (reading.top_logprobs, (rows, asked.want.top)),
        }
        if asked.want.lens:
            shapes["lens"] = (reading.lens, (*reading.lens.shape[:1], rows, len(asked.want.forms)))
        for name, (tensor, shape) in shapes.items():
            if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
                raise SelfCheckError(
                    "same shape",
                    f"{name} {list(tensor.shape)} in {str(tensor.dtype).removeprefix('torch.')}",
                    f"{list(shape)} in float32",
                )
    return "ok"


def _finite(bank: Sequence[Injection], readings: Sequence[Reading]) -> Value:
    """The shams are finite; arms that are not, as under absurd strengths, are counted as missing and no failure."""
    shams = [row for row, each in enumerate(bank) if each.vector is None and each.filler is None]
    for reading in readings:
        for row in shams:
            numbers = (reading.forms[row], reading.top_logprobs[row])
            if not reading.finite[row] or not all(bool(each.isfinite().all()) for each in numbers):
                raise SelfCheckError(
                    "finite", f"log-probabilities {reading.forms[row].tolist()} of the sham", "finite numbers"
                )
    return "ok" if shams else "not checked: no sham in the bank"


def _sham_row(bank: Sequence[Injection]) -> int | None:
    return next((row for row, each in enumerate(bank) if each.vector is None and each.filler is None), None)


def _on_grid(logprobs: Tensor) -> bool:
    """Whether log-probabilities, of which there are some, differ by multiples of a power of 2."""
    steps = (logprobs[1:] - logprobs[0]).double() * _GRID
    return len(steps) > 2 and bool(((steps - steps.round()).abs() < 2e-3).all())


def _tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _hooks_on(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def _weights_of(engine: Engine, parts: Parts) -> list[Weights]:
    """All weights that run some arms."""
    return [engine.weights, *dict.fromkeys(arms.filler for _, arms in parts if arms.filler)]


def _name(injection: Injection, layer: int | None = None) -> str:
    return f"arm {injection.label!r}" + ("" if layer is None else f" at layer {layer}")


def _stretches(positions: Sequence[int]) -> str:
    """Positions as half-open ranges: `0:40, 52:60`."""
    ranges: list[list[int]] = []
    for position in positions:
        if ranges and ranges[-1][1] == position:
            ranges[-1][1] += 1
        else:
            ranges.append([position, position + 1])
    return ", ".join(f"{begin}:{end}" for begin, end in ranges) or "none"
