"""What every run checks about itself while it runs, by name: a run whose numbers cannot be trusted ends.

Some checks look at texts and vectors, some compare the engine's numbers with the reference
(`introbench.checks.reference`). They are made when an arm batch is first run; the expensive ones on batches 1, 2, 4, 8
and so on, so that a run with many batches does not spend its time on them, and two runs of a task make the same ones.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from introbench.checks.against_reference import AgainstReference, sham_row
from introbench.checks.record import REFERENCE_CHECKS, Record, Value
from introbench.checks.server_reference import longest_for_reference
from introbench.checks.text_checks import text_checks
from introbench.engine import Engine, Reading, Weights
from introbench.engine.memory import is_out_of_memory
from introbench.errors import SelfCheckError
from introbench.progress import step
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.steering.arms import ArmBatch, Parts
from introbench.steering.injection import MODEL_CONTRAST, Injection
from introbench.steering.strength import Strengths
from introbench.steering.vectors import VectorLibrary

CHECKS = (
    "hooks gone",
    "one BOS",
    "prefix stable",
    "round trip",
    "single tokens",
    "same shape",
    "vectors live",
    "finite",
    *REFERENCE_CHECKS,
)
"""The names of all checks."""

_NORM_TOLERANCE = 1e-3
"""Largest relative difference to tolerate between the recorded strength and the norm of what is added."""

_ABSURD = 1e18
"""Strengths above this have squares that float32 cannot hold; their arms are not finite, and are counted as such."""


class SelfChecks:
    """Checks the runs of one loaded model.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        library: Its vectors.
        strengths: Resolves the strengths of its injections.
    """

    def __init__(self, engine: Engine, tokenizer: Any, library: VectorLibrary, strengths: Strengths) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._library = library
        self._strengths = strengths
        self._records: dict[ArmBatch, Record] = {}
        self._checked: set[ArmBatch] = set()
        self._texts: dict[TokenizedQuestion, dict[str, Value]] = {}
        self._failure: SelfCheckError | None = None
        self._hooks: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._note_hooks([engine.weights])

    def begin_run(self) -> None:
        """Make all checks anew: what they found in an earlier run of this model says nothing about the next one."""
        self._checked.clear()
        self._failure = None

    def record(self, batch: ArmBatch) -> Record:
        """What the checks found about a batch that was read."""
        return self._records[batch]

    def before(self, parts: Parts) -> None:
        """Get ready for a reading.

        Args:
            parts: How the batch is going to be run.

        Raises:
            SelfCheckError: A check has failed before; nothing else is read in this run, even if Inspect goes on after
                errors.
        """
        if self._failure:
            raise self._failure
        self._note_hooks(_weights_of(self._engine, parts))

    def after(
        self,
        questions: Sequence[TokenizedQuestion],
        batch: ArmBatch,
        parts: Parts,
        readings: Sequence[Reading],
    ) -> None:
        """Check what was read.

        Args:
            questions: The questions, which share a prior turn.
            batch: The injections.
            parts: How the batch was run.
            readings: One reading per question.

        Raises:
            SelfCheckError: A check has failed.
        """
        begun = time.perf_counter()
        is_first = batch not in self._checked
        if is_first:
            self._checked.add(batch)
            self._records[batch] = Record()
        record = self._records[batch]
        try:
            record.values["hooks gone"] = self._hooks_gone(_weights_of(self._engine, parts))
            record.values |= self._source_checks(questions)
            record.values["same shape"] = _same_shape(questions, readings, len(batch))
            if is_first:
                record.values["vectors live"] = self._vectors_live(batch, parts)
                record.values["finite"] = _finite(batch, readings)
                record.values |= self._numbers(questions[0], batch, parts, readings[0])
        except SelfCheckError as error:
            self._failure = error
            raise
        finally:
            record.seconds += time.perf_counter() - begun

    def _numbers(
        self, question: TokenizedQuestion, batch: ArmBatch, parts: Parts, reading: Reading
    ) -> dict[str, Value]:
        """Compare the engine's numbers with the reference, on batches 1, 2, 4, 8 and so on."""
        count = len(self._checked)
        if count & (count - 1):
            return dict.fromkeys(REFERENCE_CHECKS, "not checked: on banks 1, 2, 4, 8 and so on of a run alone")
        if sham_row(batch) is None:
            return dict.fromkeys(REFERENCE_CHECKS, "not checked: no sham in the bank")
        longest = longest_for_reference(self._engine)
        if longest is not None and len(question.chat.tokens) > longest:
            return dict.fromkeys(REFERENCE_CHECKS, f"not checked: longer than a server's pass, {longest} tokens")
        for _ in range(2):  # the second time with nothing that is kept for later questions
            try:
                with step("comparing the run's numbers with the reference"):
                    comparison = AgainstReference(self._engine, self._library, self._strengths, question, batch, parts)
                    return comparison.check(reading)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self._engine.release()  # outside the handler: the error holds the frames that hold the memory
        return dict.fromkeys(REFERENCE_CHECKS, "not checked: memory ran out")

    def _note_hooks(self, all_weights: Iterable[Weights]) -> None:
        """Remember how many hooks each module has, when the module is first seen."""
        for weights in all_weights:
            for module in weights.model.modules():
                self._hooks.setdefault(module, _hooks_on(module))

    def _hooks_gone(self, all_weights: Iterable[Weights]) -> Value:
        """No module has more hooks than when it was first seen."""
        for weights in all_weights:
            for name, module in weights.model.named_modules():
                left = _hooks_on(module) - self._hooks.get(module, 0)
                if left > 0:
                    raise SelfCheckError(
                        "hooks gone", f"{left} more on {name or 'the model'} after a reading", "none that stays"
                    )
        return "ok"

    def _source_checks(self, questions: Sequence[TokenizedQuestion]) -> dict[str, Value]:
        """Check questions against the texts that they came from, every question once."""
        for question in questions:
            if question not in self._texts:
                self._texts[question] = text_checks(self._tokenizer, question)
        return self._texts[questions[0]]

    def _vectors_live(self, batch: Sequence[Injection], parts: Parts) -> Value:
        """Every vector is added at every layer of its range, with the norm that is recorded."""
        worst = 0.0
        norms = [resolved.norm for resolved in self._strengths.resolve(batch)]
        for rows, arms in parts:
            for layer, delta in arms.deltas.items():
                added = delta.double().norm(dim=-1).tolist()
                for row, norm_added in zip(rows, added, strict=True):
                    injection, norm = batch[row], abs(norms[row])
                    vector = injection.vector
                    inside = injection.layers[0] <= layer < injection.layers[1]
                    if vector is None or not inside or not 0 < norm < _ABSURD:
                        continue
                    expected = f"norm {norm:.6g}, the strength that is recorded"
                    if vector.file or (injection.like and injection.like.file):  # a file sets the norm of each layer
                        expected, norm = "numbers that are finite and not all 0", norm_added if norm_added > 0 else 1.0
                    elif vector.method == MODEL_CONTRAST and norm_added == 0:  # a block that the fine-tune left as is
                        continue
                    off = abs(norm_added - norm) / norm
                    if not off <= _NORM_TOLERANCE:
                        where = f"arm {injection.label!r} at layer {layer}"
                        raise SelfCheckError("vectors live", f"norm {norm_added:.6g} of {where}", expected)
                    worst = max(worst, off)
        return worst


def _same_shape(questions: Sequence[TokenizedQuestion], readings: Sequence[Reading], rows: int) -> Value:
    """Every reading has as many numbers for every arm as were asked for, in float32."""
    for question, reading in zip(questions, readings, strict=True):
        shapes = {
            "forms": (reading.logprobs, (rows, len(question.want.tokens))),
            "top": (reading.top_logprobs, (rows, question.want.top)),
        }
        if question.want.lens:
            shapes["lens"] = (reading.lens, (*reading.lens.shape[:1], rows, len(question.want.tokens)))
        for name, (tensor, shape) in shapes.items():
            if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
                raise SelfCheckError(
                    "same shape",
                    f"{name} {list(tensor.shape)} in {str(tensor.dtype).removeprefix('torch.')}",
                    f"{list(shape)} in float32",
                )
    return "ok"


def _finite(batch: Sequence[Injection], readings: Sequence[Reading]) -> Value:
    """The shams are finite; other arms that are not, as under absurd strengths, are counted as missing elsewhere."""
    shams = [row for row, injection in enumerate(batch) if injection.vector is None and injection.filler is None]
    for reading in readings:
        for row in shams:
            numbers = (reading.logprobs[row], reading.top_logprobs[row])
            if not reading.finite[row] or not all(bool(logprobs.isfinite().all()) for logprobs in numbers):
                raise SelfCheckError(
                    "finite", f"log-probabilities {reading.logprobs[row].tolist()} of the sham", "finite numbers"
                )
    return "ok" if shams else "not checked: no sham in the bank"


def _hooks_on(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def _weights_of(engine: Engine, parts: Parts) -> list[Weights]:
    """All weights that run these arms."""
    return [engine.weights, *dict.fromkeys(arms.filler for _, arms in parts if arms.filler)]
