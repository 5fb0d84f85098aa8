"""One loaded model with everything that answers trials: engine, vectors, and what was already computed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from introbench.analysis.top_of_mind import is_live
from introbench.checks.record import Record
from introbench.checks.self_checks import SelfChecks
from introbench.engine import Arms, Engine, Reading, Request, Want
from introbench.engine.continuation import Continuation
from introbench.engine.memory import parse_budget
from introbench.engine.requests import Tokens
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.models.finetune import Finetune, TunedWeights
from introbench.progress import heartbeat, tell
from introbench.prompts import data
from introbench.prompts.chat import Chat, next_token, tokenize_chat
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.steering.arms import Rows
from introbench.steering.injection import MODEL_CONTRAST, Injection
from introbench.steering.strength import Strengths
from introbench.steering.vectors import VectorLibrary

_REMEMBERED_READINGS = 4096

_REMEMBERED_ENDS = 8


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
        self.strengths = Strengths(self.engine, self.tokenizer, self.library, self.fingerprint)
        self._checks = SelfChecks(self.engine, self.tokenizer, self.library, self.strengths)
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
        self._arms: dict[tuple[Rows, int], list[tuple[list[int], Arms]]] = {}
        self._readings: dict[tuple[TokenizedQuestion, Rows], Reading] = {}
        self._ends: dict[tuple[Tokens, Rows], Reading] = {}

    @property
    def facts(self) -> dict[str, str]:
        """How numbers are computed, for the log."""
        reductions = self.engine.reductions
        if not reductions:
            return self._facts
        return self._facts | {"memory": f"ran out {reductions} times; batches were cut each time"}

    def begin_run(self) -> None:
        """Compute and check everything anew: an evaluation must not rest on what another one has read."""
        self._readings.clear()
        self._ends.clear()
        self._checks.begin_run()
        self.engine.release()

    def read(
        self, asked: TokenizedQuestion, bank: Rows, together: Callable[[], Sequence[TokenizedQuestion]] = lambda: ()
    ) -> Reading:
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
            if bank not in self._live:
                self._live[bank] = self._which_are_live(bank)
            if bank not in self._doses:
                self._doses[bank] = self.strengths.doses_in(bank, parts)
            readings = self._checked(several, bank, parts)
        self._readings |= {(each, bank): reading for each, reading in zip(several, readings, strict=True)}
        while len(self._readings) > _REMEMBERED_READINGS:
            del self._readings[next(iter(self._readings))]
        return self._readings[asked, bank]

    def answer_states(self, asked: Sequence[TokenizedQuestion], bank: Rows) -> list[Reading]:
        """Ask all questions of one prior turn, and read the residual stream where they are answered, too.

        Args:
            asked: The questions.
            bank: The arms, in batch order.
        """
        prior = asked[0].chat.prior
        with heartbeat(f"states of {len(asked)} questions on {prior} tokens under {len(bank)} arms"):
            everywhere = [replace(each, want=replace(each.want, residuals=True)) for each in asked]
            return self._checked(everywhere, bank, self._bank_arms(bank, prior))

    def _checked(
        self, several: Sequence[TokenizedQuestion], bank: Rows, parts: Sequence[tuple[list[int], Arms]]
    ) -> list[Reading]:
        """Read questions of one prior turn, with the checks that a run makes of itself."""
        self._checks.before(parts)
        readings = self.engine.read(
            [Request(each.chat.tokens, each.chat.prior, each.want, arms) for _, arms in parts for each in several]
        )
        by_question = [readings[index :: len(several)] for index in range(len(several))]
        joined = [Reading.joined(list(zip((rows for rows, _ in parts), own, strict=True))) for own in by_question]
        self._checks.after(several, bank, parts, joined)
        return joined

    def self_checks(self, bank: Rows) -> Record:
        """What the checks found that were made of a bank's readings."""
        return self._checks.record(bank)

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

    def known(self, asked: TokenizedQuestion, bank: Rows) -> Reading | None:
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
        return self.strengths.doses(injections)

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
                for layer, delta in self.strengths.arms(bank).deltas.items()
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
        """The norm of what an injection adds at each layer; below 0, the opposite of its vector is added.

        NaN if no norm has the dose that was asked for.
        """
        return self.strengths.norms([injection])[0]

    def _which_are_live(self, bank: Rows) -> list[bool | None]:
        """Find out which concepts' vectors bring their concept to mind.

        Under active steering a chat stops at "I'm thinking about". A vector is live if it makes its concept's word
        more likely there than the sham and every random vector of the bank make it.
        """
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
        deltas = self.strengths.arms(injections).deltas
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
                (rows, self.strengths.arms([bank[row] for row in rows], self.finetuned(name) if name else None, prior))
                for (_, name), rows in alike.items()
            ]
        return self._arms[key]
