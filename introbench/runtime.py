"""One loaded model with everything that answers trials: engine, vectors, and what was already computed."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from introbench import data
from introbench.chat import Chat, next_token, tokenize_chat
from introbench.checkpoint import Checkpoint, weights_fingerprint
from introbench.dose import Carriers, find_norms
from introbench.engine import Arms, Engine, Reading, Request, Want
from introbench.engine.continuation import Continuation
from introbench.engine.memory import parse_budget
from introbench.engine.requests import NO_DELTAS, Tokens
from introbench.errors import InputError
from introbench.finetune import Finetune, TunedWeights
from introbench.injection import MODEL_CONTRAST, Injection, LayerRange, sham
from introbench.mind import is_live
from introbench.progress import heartbeat, tell
from introbench.vectors import VectorLibrary

Rows = tuple[Injection, ...]
"""The injections that share a batch, row by row."""

_REMEMBERED_READINGS = 4096
_REMEMBERED_ENDS = 8


@dataclass(frozen=True)
class Asked:
    """One question: a conversation and what to read after it.

    Attributes:
        chat: The conversation.
        want: What to read.
    """

    chat: Chat
    want: Want


class Runtime:
    """Answers trials on one model; every method may take long and belongs in a worker thread.

    Args:
        checkpoint: Which model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        with heartbeat(f"loading {checkpoint.name}"):
            model = checkpoint.load()
            self.engine = Engine(model, parse_budget(checkpoint.memory))
            self.fingerprint = weights_fingerprint(model)
        self.library = VectorLibrary(
            self.engine, self.tokenizer, self.fingerprint, data.openings(), finetuned=self.finetuned
        )
        self._facts = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "attention": str(model.config._attn_implementation),
            "weights": self.fingerprint[:16],
            **self.engine.notes,
        }
        tell(f"{checkpoint.name} is ready: {self._facts['dtype']} on {self._facts['device']}")
        for what, note in self.engine.notes.items():
            tell(f"{what}: {note}")
        self._finetuned: dict[str, TunedWeights] = {}
        self._live: dict[Rows, list[bool | None]] = {}
        self._doses: dict[Rows, list[float | None]] = {}
        self._norms: dict[Injection, float] = {}
        self._arms: dict[tuple[Rows, int], list[tuple[list[int], Arms]]] = {}
        self._readings: dict[tuple[Asked, Rows], Reading] = {}
        self._ends: dict[tuple[Tokens, Rows], Reading] = {}

    @property
    def facts(self) -> dict[str, str]:
        """How numbers are computed, for the log."""
        reductions = self.engine.reductions
        if not reductions:
            return self._facts
        return self._facts | {"memory": f"ran out {reductions} times; batches were cut each time"}

    def read(self, asked: Asked, bank: Rows, together: Callable[[], Sequence[Asked]] = lambda: ()) -> Reading:
        """Ask one question under every arm of a bank.

        Args:
            asked: The question.
            bank: The arms, in batch order.
            together: The questions that are always run as one with it, so that its numbers do not depend on which
                happen to wait at the same time.
        """
        known = self.known(asked, bank)
        if known is not None:
            return known
        several = list(dict.fromkeys([*together(), asked]))
        prior = asked.chat.prior
        with heartbeat(f"{len(several)} questions on a prior turn of {prior} tokens under {len(bank)} arms"):
            parts = self._bank_arms(bank, prior)
            self._find_live(bank)
            self._find_doses(bank, parts)
            readings = self.engine.read(
                [Request(each.chat.tokens, each.chat.prior, each.want, arms) for _, arms in parts for each in several]
            )
        for index, each in enumerate(several):
            own = readings[index :: len(several)]
            self._readings[each, bank] = Reading.joined(list(zip((rows for rows, _ in parts), own, strict=True)))
        while len(self._readings) > _REMEMBERED_READINGS:
            del self._readings[next(iter(self._readings))]
        return self._readings[asked, bank]

    def answer_states(self, asked: Sequence[Asked], bank: Rows) -> list[Reading]:
        """Ask all questions of one prior turn, and read the residual stream where they are answered, too.

        Args:
            asked: The questions.
            bank: The arms, in batch order.
        """
        prior = asked[0].chat.prior
        with heartbeat(f"states of {len(asked)} questions on {prior} tokens under {len(bank)} arms"):
            wants = [replace(each.want, residuals=True) for each in asked]
            parts = self._bank_arms(bank, prior)
            readings = self.engine.read(
                [
                    Request(each.chat.tokens, prior, want, arms)
                    for _, arms in parts
                    for each, want in zip(asked, wants, strict=True)
                ]
            )
        several = [readings[index :: len(asked)] for index in range(len(asked))]
        return [Reading.joined(list(zip((rows for rows, _ in parts), own, strict=True))) for own in several]

    def cache_states(self, prior: Tokens, bank: Rows) -> Reading:
        """Read the residual stream at the last token of a prior turn, which is steered itself.

        Args:
            prior: The prior turn; what was read is kept for those that ask again.
            bank: The arms, in batch order.
        """
        if (prior, bank) not in self._ends:
            with heartbeat(f"states of a prior turn of {len(prior)} tokens under {len(bank)} arms"):
                parts = self._bank_arms(bank, len(prior))
                steered = [Arms.steered(arms.deltas, arms.deltas, arms.filler) for _, arms in parts]
                want = Want(residuals=True)
                readings = self.engine.read([Request(prior, len(prior) - 1, want, arms) for arms in steered])
            if len(self._ends) >= _REMEMBERED_ENDS:
                self._ends.clear()
            self._ends[prior, bank] = Reading.joined(list(zip((rows for rows, _ in parts), readings, strict=True)))
        return self._ends[prior, bank]

    def known(self, asked: Asked, bank: Rows) -> Reading | None:
        """What a question gave under a bank if it has been asked lately; safe to call while `read` runs."""
        return self._readings.get((asked, bank))

    def live(self, bank: Rows) -> list[bool | None]:
        """For each row of a bank that was read: whether its vector does anything, None if that does not apply."""
        return self._live[bank]

    def doses(self, bank: Rows) -> list[float | None]:
        """For each row of a bank that was read: its dose in nats, None where other weights fill the cache."""
        return self._doses[bank]

    def doses_of(self, injections: Sequence[Injection]) -> list[float]:
        """The doses of injections, in nats, if they were on while the prior turn's cache is filled and no longer.

        Args:
            injections: The first is a sham.
        """
        return self._carriers.doses(self._side_by_side([replace(each, steering="cache") for each in injections]))

    def continued(
        self, tokens: Tokens, bank: Sequence[Injection], seeds: Sequence[int], length: int, temperature: float
    ) -> list[list[Continuation]]:
        """Continue a chat under each injection of a bank, which is on at every token: one text per seed.

        Args:
            tokens: The chat, up to where it goes on.
            bank: The injections.
            seeds: Seeds of the texts; the same for all injections, so that they can be compared.
            length: Most tokens to write.
            temperature: 0 for the most likely token.
        """
        with heartbeat(f"{len(seeds)} continuations under {len(bank)} arms"):
            deltas = {
                layer: delta.repeat_interleave(len(seeds), dim=0)
                for layer, delta in self._side_by_side(bank).deltas.items()
            }
            written = self.engine.continue_chat(
                tokens,
                deltas,
                [*seeds] * len(bank),
                length=length,
                temperature=temperature,
                end=self._end_tokens,
            )
        return [written[begin : begin + len(seeds)] for begin in range(0, len(written), len(seeds))]

    @property
    def _end_tokens(self) -> set[int]:
        """Tokens that end a text."""
        configured = getattr(self.engine.model.generation_config, "eos_token_id", None)
        several = configured if isinstance(configured, list) else [configured]
        return {token for token in [*several, self.tokenizer.eos_token_id] if token is not None}

    def finetuned(self, name: str) -> TunedWeights:
        """The weights of a fine-tune, loaded, or trained, once."""
        if name not in self._finetuned:
            self._finetuned[name] = Finetune(name, self._checkpoint).load(self.engine.model)
        return self._finetuned[name]

    def strength(self, injection: Injection) -> float:
        """The norm of what an injection adds at each layer; below 0, the opposite of its vector is added."""
        return self._strengths([injection])[0]

    def _strengths(self, injections: Sequence[Injection]) -> list[float]:
        """The norms of what injections add; those that are given as doses are found together, once, and kept."""
        # A dose is asked for in the cache alone, so that one that is active as well has the same norm.
        plain = [replace(each, steering="cache", filler=None, spans=(), batch=0) for each in injections]
        unknown = [each for each in dict.fromkeys(plain) if each not in self._norms]
        for each in unknown:
            if each.vector is None or each.strength.number == 0:
                self._norms[each] = 0.0
            elif each.like is None and each.strength.unit != "kl":
                residual = each.strength.unit == "residual"
                scale = self.library.residual_norm(each.layers) if residual else 1.0
                self._norms[each] = each.strength.number * scale
        by_dose = [each for each in unknown if each not in self._norms and each.like is None]
        self._find_norms(by_dose, [abs(each.strength.number) for each in by_dose])
        if by_dose and all(math.isnan(self._norms[each]) for each in by_dose) and not any(i.batch for i in injections):
            raise InputError(
                f"strength={by_dose[0].strength}: no vector reaches this dose in layers "
                f"{by_dose[0].layers[0]}:{by_dose[0].layers[1]}; expected one that it can have; ask for another, or "
                f"give a norm"
            )
        controls = [each for each in unknown if each not in self._norms]
        if controls:
            # The opposite of a vector is like that vector, which pushes the other way.
            turned = [-1.0 if each.vector == each.like else 1.0 for each in controls]
            models = [
                replace(each, vector=each.like, like=None, strength=each.strength.times(sign))
                for each, sign in zip(controls, turned, strict=True)
            ]
            norms = self._strengths(models)
            for each, sign, norm in zip(controls, turned, norms, strict=True):
                if each.match == "norm":
                    self._norms[each] = sign * norm
            by_impact = [number for number, each in enumerate(controls) if each.match == "impact"]
            doses = self._measured(models, norms) if by_impact else []
            self._find_norms([controls[number] for number in by_impact], [doses[number] for number in by_impact])
        return [self._norms[each] for each in plain]

    def _find_norms(self, injections: Sequence[Injection], doses: Sequence[float]) -> None:
        """Find the norms at which injections have some doses, from the store where they are kept."""
        signs = [_sign(each.strength.number) for each in injections]
        keys = [self._norm_key(each, dose) for each, dose in zip(injections, doses, strict=True)]
        wanted: list[int] = []
        for index, (each, key) in enumerate(zip(injections, keys, strict=True)):
            if not (doses[index] > 0 and math.isfinite(doses[index])):  # nothing can be like what has no dose
                self._norms[each] = math.nan
                continue
            kept = self.library.store.load(key)
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

        beginning = 0.05 * self.library.residual_norm(injections[0].layers)
        found = find_norms(measure, [doses[index] for index in wanted], beginning)
        for index, norm in zip(wanted, found, strict=True):
            if math.isnan(norm):
                start, stop = injections[index].layers
                tell(f"{injections[index].label}: {doses[index]:.3g} nats are not reached in layers {start}:{stop}")
            else:
                self.library.store.save(keys[index], torch.tensor(norm, dtype=torch.float64))
            self._norms[injections[index]] = signs[index] * norm

    def _measured(self, injections: Sequence[Injection], norms: Sequence[float]) -> list[float]:
        """The doses of injections at some norms."""
        layers = injections[0].layers
        arms = self._side_by_side([sham(layers), *injections], [0.0, *norms])
        return self._carriers.doses(arms)[1:]

    def _norm_key(self, injection: Injection, dose: float) -> dict[str, str]:
        assert injection.vector is not None
        sign = "-" if injection.strength.number < 0 else ""
        return {
            "weights": self.fingerprint,
            "norm_of": sign + self.library.sha256(injection.vector),
            "layers": f"{injection.layers[0]}:{injection.layers[1]}",
            "dose": f"{dose:.6g}",
            "carriers": self._carriers.digest,
        }

    @cached_property
    def _carriers(self) -> Carriers:
        return Carriers(self.engine, self.tokenizer)

    def _find_doses(self, bank: Rows, parts: Sequence[tuple[Sequence[int], Arms]]) -> None:
        """Measure, once for each bank, how far its arms move the answers to neutral questions."""
        if bank not in self._doses:
            doses: list[float | None] = [None] * len(bank)
            for rows, arms in parts:
                if arms.filler is None:
                    # In the cache alone, and in all of the prior turn, whatever the arm is otherwise.
                    plain = [replace(bank[row], steering="cache", spans=(), batch=0) for row in rows]
                    distinct = list(dict.fromkeys(plain))
                    same = distinct == [bank[row] for row in rows]
                    whole = arms if same else self._side_by_side(distinct)
                    measured = dict(zip(distinct, self._carriers.doses(whole), strict=True))
                    for row, injection in zip(rows, plain, strict=True):
                        doses[row] = measured[injection] if math.isfinite(measured[injection]) else None
            self._doses[bank] = doses

    def _find_live(self, bank: Rows) -> None:
        """Find out, once for each bank, which concepts' vectors bring their concept to mind.

        Under active steering a chat stops at "I'm thinking about". A vector is live if it makes its concept's word
        more likely there than the sham and every random vector of the bank make it.
        """
        if bank not in self._live:
            self._live[bank] = self._which_are_live(bank)

    def _which_are_live(self, bank: Rows) -> list[bool | None]:
        live: list[bool | None] = [None] * len(bank)
        concepts = {
            row: injection.vector.concept
            for row, injection in enumerate(bank)
            # An opposite is meant to keep its concept from mind, and a contrast of models has no word.
            if injection.vector
            and injection.strength.number > 0
            and not injection.vector.is_random
            and injection.vector.method != MODEL_CONTRAST
        }
        # Of the many cells of a sweep, each with a batch of its own, nobody asks.
        if not concepts or any(injection.batch for injection in bank):
            return live
        try:
            prompt = tokenize_chat(self.tokenizer, data.top_of_mind(), 0)
        except InputError:  # a template that refuses a chat without a system turn, say: then nothing is known
            return live
        under = [replace(injection, filler=None) for injection in bank]
        # Rotations alone: whether a vector is live must not depend on which other controls stand beside it.
        others = [
            row
            for row, injection in enumerate(bank)
            if not injection.vector or (injection.vector.is_random and injection.vector.control == "rotation")
        ]
        words = self.words(prompt, under, tuple(concepts.values()))
        for row, concept in concepts.items():
            live[row] = is_live(words[concept][row], [words[concept][other] for other in others])
        return live

    def words(self, chat: Chat, injections: Sequence[Injection], concepts: Sequence[str]) -> dict[str, list[float]]:
        """How likely concepts' words are right after a chat, under injections that are on throughout.

        Args:
            chat: A chat that goes on.
            injections: Row by row.
            concepts: Of a concept of several tokens, the first counts.

        Returns:
            For each concept a log-probability per injection; NaN where it is not finite, or the word has no token.
        """
        found = {concept: next_token(self.tokenizer, chat, f" {concept}") for concept in concepts}
        forms = tuple({token for token in found.values() if token is not None})
        nothing = [math.nan] * len(injections)
        if not forms:
            return dict.fromkeys(concepts, nothing)
        deltas = self._side_by_side(injections).deltas
        request = Request(chat.tokens, len(chat.tokens) - 1, Want(forms), Arms.steered(deltas, deltas))
        (reading,) = self.engine.read([request])
        finite = [reading.forms[row].tolist() if reading.finite[row] else None for row in range(len(injections))]
        return {
            concept: [values[forms.index(token)] if values else math.nan for values in finite]
            if token is not None
            else nothing
            for concept, token in found.items()
        }

    def _bank_arms(self, bank: Rows, prior: int) -> list[tuple[list[int], Arms]]:
        """Rows of a bank and the arms that run them: by batch, as far as the same weights fill their cache.

        Args:
            bank: The injections.
            prior: Tokens of the prior turn.
        """
        key = bank, prior if any(injection.spans for injection in bank) else 0
        if key not in self._arms:
            alike: dict[tuple[int, str | None], list[int]] = {}
            for row, injection in enumerate(bank):
                alike.setdefault((injection.batch, injection.filler), []).append(row)
            self._arms[key] = [
                (rows, replace(self._side_by_side(each), profile=_profile(each, prior)))
                for rows in alike.values()
                for each in [[bank[row] for row in rows]]
            ]
        return self._arms[key]

    def _side_by_side(self, injections: Sequence[Injection], norms: Sequence[float] | None = None) -> Arms:
        """What is added at each layer, one row per injection, while the prior turn and while the question is read.

        Args:
            injections: Row by row.
            norms: Of what each adds at each layer; what the injections say by default.
        """
        norms = self._strengths(injections) if norms is None else norms
        vectors = [self.library.directions(each.vector) if each.vector else None for each in injections]
        added = [
            _Added(each.layers, norm, vector, each.steering == "active")
            for each, norm, vector in zip(injections, norms, vectors, strict=True)
        ]
        deltas = _SideBySide(added, self.engine.hidden_size)
        active = [each if each.is_active else replace(each, vector=None) for each in added]
        filler = self.finetuned(injections[0].filler) if injections[0].filler else None
        return Arms.steered(
            deltas,
            _SideBySide(active, self.engine.hidden_size) if any(each.is_active for each in added) else NO_DELTAS,
            filler,
        )


@dataclass(frozen=True, eq=False)
class _Added:
    """What one injection adds: a norm times unit vectors [all layers, hidden], in some layers."""

    layers: LayerRange
    norm: float
    vector: Tensor | None
    is_active: bool


class _SideBySide(Mapping[int, Tensor]):
    """What injections add at each layer, [injections, hidden], made when it is asked for.

    Kept, it would grow with the cells of a sweep.
    """

    def __init__(self, added: Sequence[_Added], hidden: int) -> None:
        self._added = tuple(added)
        self._hidden = hidden
        self._layers = sorted({layer for each in added for layer in range(*each.layers)})

    def __getitem__(self, layer: int) -> Tensor:
        if layer not in self._layers:
            raise KeyError(layer)
        rows = torch.zeros(len(self._added), self._hidden)
        for row, each in enumerate(self._added):
            if each.vector is not None and each.layers[0] <= layer < each.layers[1]:
                rows[row] = each.norm * each.vector[layer]
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


def _sign(number: float) -> float:
    return -1.0 if number < 0 else 1.0
