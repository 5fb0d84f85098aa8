"""Compares the engine's numbers for one question, under a few arms of a batch, with the reference."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from introbench.checks.expected import EngineNumbers, ExpectedNumbers
from introbench.checks.record import Value
from introbench.checks.server_reference import reference_of
from introbench.checks.watch import ObservedRun, watching
from introbench.engine import Arms, Engine, Reading, Request, TransformersEngine, Want
from introbench.errors import SelfCheckError
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.steering.arms import Parts
from introbench.steering.injection import Injection
from introbench.steering.strength import ResolvedInjection, Strengths
from introbench.steering.vectors import VectorLibrary

_GRID = 256
"""Logits that were rounded to half precision differ by multiples of 1 / 256, unless they are tiny."""

_ALIKE = 0.95
"""Cosine above which two vectors cannot be told apart by the direction of what is added."""


class AgainstReference:
    """Compares the engine's numbers for one question, under a few rows of a batch, with the reference.

    The rows are the sham, and the first and the last row with an injection. The engine's numbers are those of the run;
    those of a second reading, after everything else has used the engine's cache; and those of a fresh reading of these
    rows alone, during which the engine is watched.

    Args:
        engine: The model.
        library: Its vectors.
        strengths: Resolves the strengths of injections.
        question: The question.
        batch: The injections, in batch order.
        parts: How the batch was run.
    """

    def __init__(
        self,
        engine: Engine,
        library: VectorLibrary,
        strengths: Strengths,
        question: TokenizedQuestion,
        batch: Sequence[Injection],
        parts: Parts,
    ) -> None:
        self._engine = engine
        self._strengths = strengths
        self._chat, self._want = question.chat, Want(question.want.tokens, question.want.top)
        self._batch = batch
        self._parts = parts
        self._resolved = strengths.resolve(batch)
        self._expected = ExpectedNumbers(
            reference_of(engine), engine.dtype, library, self._chat, self._want, self._resolved, parts
        )

    def check(self, run: Reading) -> dict[str, Value]:
        """Check the numbers of a run.

        Args:
            run: What the run read of the question, under all rows.

        Returns:
            What each check found, by name.

        Raises:
            SelfCheckError: Numbers differ from the reference by more than is tolerated, or the engine was seen to do
                something else than it was asked.
        """
        sham = sham_row(self._batch)
        assert sham is not None
        injected = [row for row, resolved in enumerate(self._resolved) if run.finite[row] and _does_anything(resolved)]
        outer = list(dict.fromkeys([injected[0], injected[-1]])) if injected else []
        in_float32 = self._float32_readout(run, sham)
        rows, arms = next(part for part in self._parts if sham in part[0])
        of_run = EngineNumbers("the run", range(len(self._batch)), run)
        with self._engine.keeping():  # else the next questions would have to fill the cache again
            again = EngineNumbers("a second reading", rows, self._read(arms))
            self._engine.release()
            fresh, observed = [], []
            for group in self._by_weights([sham, *outer]):
                reading, observed_run = self._read_and_observe(group)
                fresh.append(EngineNumbers("a reading of its own", group, reading))
                observed.append(observed_run)
            self._check_order([of_run, again, *fresh], [sham, *outer])
            for numbers, observed_run in zip(fresh, observed, strict=True):
                self._check_tokens_and_additions(numbers.rows, observed_run)
            sham_distance = self._check_sham(fresh[0], sham)
        clean = [
            self._check_distance("cache is clean", numbers, row)
            for numbers in (of_run, again)
            for row in numbers.among([sham])
        ]
        spans = [self._check_distance("spans", numbers, row) for numbers in fresh for row in numbers.among(outer)]
        for row in outer:
            self._check_distance("cache is clean", of_run, row)
        return {
            "float32 readout": in_float32,
            "sham is plain": sham_distance,
            "cache is clean": max(clean),
            "spans": self._spans(spans, observed),
            "arms in order": self._smallest_gap([sham, *outer], observed),
        }

    def _float32_readout(self, run: Reading, sham: int) -> Value:
        """Log-probabilities are not in steps of a power of 2, as they are from logits in half precision."""
        if self._engine.readout is None:
            return "not checked: the model's own logits are read"
        top = run.top_logprobs[sham]
        if _on_grid(top):
            is_float32 = self._engine.dtype == torch.float32
            # A float32 model may have such logits; in half precision, the reference is rounded and cannot tell.
            if not is_float32 or not _on_grid(self._expected.logprobs(sham)[run.top_ids[sham]]):
                raise SelfCheckError(
                    "float32 readout", f"log-probabilities {top.tolist()} in steps of 1/{_GRID}", "float32 logits"
                )
        return "ok"

    def _read(self, arms: Arms) -> Reading:
        (reading,) = self._engine.read([Request(self._chat.tokens, self._chat.prior, self._want, arms)])
        return reading

    def _read_and_observe(self, group: Sequence[int]) -> tuple[Reading, ObservedRun]:
        """Read a group of rows alone, and observe the first block where anything should be added."""
        filler = self._expected.filler(group[0])
        arms = self._strengths.arms([self._resolved[row] for row in group], filler, self._chat.prior)
        added = [self._expected.added(row).vectors for row in group]
        steered = {block for vectors in added for block, vector in vectors.items() if vector.any()}
        block = min(steered - {self._engine.n_layers - 1}, default=None)
        nothing = torch.zeros(self._engine.hidden_size)
        vectors = torch.stack([nothing if block is None else of_row.get(block, nothing) for of_row in added])
        if not isinstance(self._engine, TransformersEngine):
            unseen = ObservedRun(block, vectors, len(self._chat.tokens))
            unseen.blind_because = "a server runs the blocks"
            return self._read(arms), unseen
        all_weights = [self._engine.weights, *([filler] if filler else [])]
        with watching(all_weights, block, vectors, len(self._chat.tokens)) as observed:
            reading = self._read(arms)
        return reading, observed

    def _check_order(self, readings: Sequence[EngineNumbers], rows: Sequence[int]) -> None:
        """Refuse numbers of a row that stand at another row, where neither row has its own."""
        distance, tolerance = self._expected.distance, self._expected.tolerance
        for numbers in readings:
            for row in numbers.among(rows):
                if distance(numbers, row) <= self._expected.allowed(row, distance(numbers, row)):
                    continue
                for other in numbers.rows:
                    if other == row or not distance(numbers, other, as_if=row) <= tolerance:
                        continue
                    if distance(numbers, other) > tolerance:
                        swap = f"the numbers of {_name(self._batch[row])} at {_name(self._batch[other])}"
                        raise SelfCheckError(
                            "arms in order", f"in {numbers.source} {swap}", "every arm to have its own"
                        )

    def _check_tokens_and_additions(self, group: Sequence[int], observed: ObservedRun) -> None:
        """Refuse a run of other tokens than the chat's, or one that adds something else, or elsewhere."""
        if all(observed.ids):
            for position, (ids, token) in enumerate(zip(observed.ids, self._chat.tokens, strict=True)):
                if ids != {token}:
                    raise SelfCheckError("spans", f"tokens {sorted(ids)} at position {position}", f"token {token}")
        else:
            observed.blind_because = observed.blind_because or "the model is not told its positions"
        if not observed.blind_because and (wrong := self._wrongly_steered(group, observed)):
            # In some architectures, a block hands on something else than its output even where nothing is added.
            with watching(
                [self._engine.weights], observed.block, observed.vectors[:1], len(self._chat.tokens)
            ) as clean:
                self._expected.run_clean(group[0])
            if not clean.gained.any():
                raise wrong
            observed.blind_because = "blocks of this model hand on something else than their output"

    def _wrongly_steered(self, group: Sequence[int], observed: ObservedRun) -> SelfCheckError | None:
        """The error that says which row was given something else than it should; None if none was."""
        for index, row in enumerate(group):
            shares, steered = self._expected.added(row).shares, observed.gained[index].nonzero()[:, 0].tolist()
            expected = shares.nonzero()[:, 0].tolist() if observed.vectors[index].any() else []
            if expected and not steered and self._engine.dtype != torch.float32:
                observed.blind_because = "what is added is as small as rounding"
            elif steered != expected:
                where = f"{_name(self._batch[row])} added at tokens {_stretches(steered)}"
                return SelfCheckError("spans" if expected else "sham is plain", where, _stretches(expected))
            elif expected and (other := self._mistaken_for(index, observed, float(shares.sum().sign()))):
                pushed = f"{_name(self._batch[row])} pushed along the vector of {_name(self._batch[group[other]])}"
                return SelfCheckError("arms in order", pushed, "its own")
        return None

    def _mistaken_for(self, index: int, observed: ObservedRun, sign: float) -> int | None:
        """The other row whose vector was added to a row in place of the row's own; None if there is none."""
        vectors = observed.vectors
        other = int(cosine_similarity(sign * observed.total[index], vectors, dim=-1).argmax())
        alike = cosine_similarity(vectors[index], vectors[other], dim=0) > _ALIKE
        return None if other == index or alike else other

    def _check_sham(self, fresh: EngineNumbers, sham: int) -> float:
        """Distance of the sham from the reference; an error where it is too large."""
        distance = self._expected.distance(fresh, sham)
        if distance <= self._expected.allowed(sham, distance):
            return distance
        # If the sham is right when it is read alone and with nothing cached, other rows have spoilt it.
        self._engine.release()
        alone = self._strengths.arms([self._resolved[sham]], None, self._chat.prior)
        by_itself = self._expected.distance(EngineNumbers("a reading by itself", [sham], self._read(alone)), sham)
        name = "cache is clean" if by_itself <= self._expected.tolerance else "sham is plain"
        raise self._too_far(name, fresh, sham, distance)

    def _check_distance(self, name: str, numbers: EngineNumbers, row: int) -> float:
        """Distance of a row from the reference; an error under the check's name where it is too large."""
        distance = self._expected.distance(numbers, row)
        if not distance <= self._expected.allowed(row, distance):
            raise self._too_far(name, numbers, row, distance)
        return distance

    def _too_far(self, name: str, numbers: EngineNumbers, row: int, distance: float) -> SelfCheckError:
        return SelfCheckError(
            name,
            f"log-probabilities of {_name(self._batch[row])} {distance:.2g} nats off in {numbers.source}",
            f"within {self._expected.tolerance:g} of one plain pass over the same tokens",
        )

    def _spans(self, distances: Sequence[float], observed: Sequence[ObservedRun]) -> Value:
        """The largest distance of injected rows from the reference, or why it does not say which tokens are steered."""
        if not distances:
            return "not checked: nothing is injected"
        reasons = [run.blind_because for run in observed if run.blind_because]
        if reasons and self._engine.dtype != torch.float32:
            return f"not checked: rounding hides single tokens, and {reasons[0]}"
        return max(distances)

    def _smallest_gap(self, rows: Sequence[int], observed: Sequence[ObservedRun]) -> Value:
        """Smallest difference between the reference's numbers of two rows: by so much would a wrong order show."""
        gaps = [self._expected.gap(row, other) for index, row in enumerate(rows) for other in rows[:index]]
        if not gaps:
            return "not checked: nothing is injected"
        if min(gaps) > 2 * self._expected.tolerance:
            return min(gaps)
        # The numbers cannot tell the rows apart; what was added to them can, if it was observed for all of them.
        steered = sum(int(run.vectors.any(dim=-1).sum()) for run in observed if not run.blind_because)
        return "ok" if steered == len(rows) - 1 else f"not checked: arms are within {min(gaps):.2g} nats of each other"

    def _by_weights(self, rows: Sequence[int]) -> list[list[int]]:
        """Rows grouped by the weights that fill their cache, in the order in which these first occur."""
        groups: dict[str | None, list[int]] = {}
        for row in rows:
            groups.setdefault(self._batch[row].filler, []).append(row)
        return list(groups.values())


def sham_row(batch: Sequence[Injection]) -> int | None:
    """The first row of a batch that is a sham, read by the weights that answer; None if there is none."""
    rows = (row for row, injection in enumerate(batch) if injection.vector is None and injection.filler is None)
    return next(rows, None)


def _does_anything(resolved: ResolvedInjection) -> bool:
    """Whether an injection changes what is read: it adds something finite, or other weights fill its cache."""
    injection, norm = resolved.injection, resolved.norm
    return bool(injection.filler or (injection.vector and math.isfinite(norm) and norm))


def _on_grid(logprobs: Tensor) -> bool:
    """Whether more than three log-probabilities differ by multiples of a power of 2."""
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
