"""What every run checks about itself while it runs, by name: a run whose numbers cannot be trusted ends.

Some checks look at texts and vectors, some hold the engine's numbers against a plain computation
(`introbench.checks.reference`). They are made where a bank is first run; the expensive ones on banks 1, 2, 4, 8 and so
on, so that a run with many banks does not spend its time on them, and two runs of a task make the same ones.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from introbench.checks.against_reference import AgainstPlain, Parts, sham_row
from introbench.checks.record import NAMES, Record, Value
from introbench.engine import Engine, Reading, Weights
from introbench.engine.memory import is_out_of_memory
from introbench.errors import SelfCheckError
from introbench.prompts.tokenized import QuestionSource, TokenizedQuestion
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import MODEL_CONTRAST, Injection
from introbench.steering.strength import Strengths
from introbench.steering.vectors import VectorLibrary

CHECKS = ("hooks gone", "one BOS", "prefix stable", "single tokens", "same shape", "vectors live", "finite", *NAMES)
"""The names of all checks."""

_NORM_TOLERANCE = 1e-3
"""Largest accepted relative difference between a strength as it is recorded and what is added."""

_ABSURD = 1e18
"""Strengths above have squares that float32 cannot hold; their arms are not finite, and are counted as such."""


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
        self._records: dict[ArmBatch, Record] = {}
        self._checked: set[ArmBatch] = set()
        self._texts: dict[TokenizedQuestion, dict[str, Value]] = {}
        self._failure: SelfCheckError | None = None
        self._hooks: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._note_hooks([engine.weights])

    def begin_run(self) -> None:
        """Make all checks anew: what an earlier run of this model found says nothing about the next one."""
        self._checked.clear()
        self._failure = None

    def record(self, bank: ArmBatch) -> Record:
        """What was found about a bank that was read."""
        return self._records[bank]

    def before(self, parts: Parts) -> None:
        """Get ready for a reading.

        Raises:
            SelfCheckError: A check has failed before: nothing else is read in this run, even if errors are put up with.
        """
        if self._failure:
            raise self._failure
        self._note_hooks(_weights_of(self._engine, parts))

    def after(
        self,
        several: Sequence[TokenizedQuestion],
        bank: ArmBatch,
        parts: Parts,
        readings: Sequence[Reading],
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
        is_first = bank not in self._checked
        if is_first:
            self._checked.add(bank)
            self._records[bank] = Record()
        record = self._records[bank]
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
        self, asked: TokenizedQuestion, bank: ArmBatch, parts: Parts, reading: Reading
    ) -> dict[str, Value]:
        count = len(self._checked)
        if count & (count - 1):
            return dict.fromkeys(NAMES, "not checked: on banks 1, 2, 4, 8 and so on of a run alone")
        if sham_row(bank) is None:
            return dict.fromkeys(NAMES, "not checked: no sham in the bank")
        try:
            return AgainstPlain(self._engine, self._library, self._strengths, asked, bank, parts).check(reading)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._engine.release()  # outside the handler: the error holds the frames that hold the memory
        return dict.fromkeys(NAMES, "not checked: memory ran out")

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

    def _written_checks(self, several: Sequence[TokenizedQuestion]) -> dict[str, Value]:
        """Check what questions were made of, each once."""
        for asked in several:
            if asked not in self._texts:
                self._texts[asked] = _written_checks(self._tokenizer, asked)
        return self._texts[several[0]]

    def _vectors_live(self, bank: Sequence[Injection], parts: Parts) -> Value:
        """Every vector is added at every layer of its range, as strong as its record says."""
        worst = 0.0
        norms = [resolved.norm for resolved in self._strengths.resolve(bank)]
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
                        where = f"arm {injection.label!r} at layer {layer}"
                        raise SelfCheckError("vectors live", f"norm {found:.6g} of {where}", expected)
                    worst = max(worst, off)
        return worst


def _written_checks(tokenizer: Any, asked: TokenizedQuestion) -> dict[str, Value]:
    """Make a question again from what it was made of, and compare."""
    chat, written = asked.chat, asked.source
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


def _prefix_stable(tokenizer: Any, asked: TokenizedQuestion, written: QuestionSource) -> None:
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


def _same_shape(several: Sequence[TokenizedQuestion], readings: Sequence[Reading], rows: int) -> Value:
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


def _tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _hooks_on(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def _weights_of(engine: Engine, parts: Parts) -> list[Weights]:
    """All weights that run some arms."""
    return [engine.weights, *dict.fromkeys(arms.filler for _, arms in parts if arms.filler)]
