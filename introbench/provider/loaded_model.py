"""One loaded model with everything that reads trials: engine, vectors, strengths, and what was already computed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from introbench.checks.record import Record
from introbench.checks.self_checks import SelfChecks
from introbench.engine import Arms, Reading, Request, Want
from introbench.engine.requests import Tokens
from introbench.models.checkpoint import Checkpoint
from introbench.models.finetune import Finetune, TunedWeights
from introbench.models.start_engine import start_engine
from introbench.progress import part, step, tell
from introbench.prompts import data
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider.liveness import live_vectors
from introbench.provider.workload import WorkOfCalls
from introbench.steering.arms import ArmBatch, Parts
from introbench.steering.strength import Strengths
from introbench.steering.vectors import VectorLibrary

_REMEMBERED_READINGS = 4096
_REMEMBERED_ENDS = 8


class LoadedModel:
    """Reads trials on one model; every method may take long and belongs in a worker thread.

    Args:
        checkpoint: Which model.

    Attributes:
        tokenizer: Its tokenizer.
        engine: What runs it.
        library: Its vectors.
        strengths: Resolves the strengths of injections.
        work: How much work calls are, in the order in which they are made.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.tokenizer = checkpoint.tokenizer
        with step(f"loading {checkpoint.name}"):
            self.engine, fingerprint, facts = start_engine(checkpoint)
        self.library = VectorLibrary(
            self.engine, self.tokenizer, fingerprint, data.openings(), finetuned=self.finetuned
        )
        self.strengths = Strengths(self.engine, self.tokenizer, self.library, fingerprint)
        self._checks = SelfChecks(self.engine, self.tokenizer, self.library, self.strengths)
        model, notes = self.engine.model, self.engine.notes
        self._facts = {**facts, "weights": fingerprint[:16], **notes}
        is_part = model.config.get_text_config() is not model.config
        how = [f"the text model of {type(model).__name__}"] if is_part else []
        how += [f"{self._facts['dtype']} on {self._facts['device']}", notes["path"], notes.get("products", "")]
        tell(f"{checkpoint.name} is ready: {'; '.join(filter(None, how))}")
        self.work = WorkOfCalls(checkpoint.n_layers)
        self._finetuned: dict[str, TunedWeights] = {}
        self._texts: dict[int, str] = {}
        self._live: dict[ArmBatch, list[bool | None]] = {}
        self._doses: dict[ArmBatch, list[float | None]] = {}
        self._arms: dict[tuple[ArmBatch, int], Parts] = {}
        self._readings: dict[tuple[TokenizedQuestion, ArmBatch], Reading] = {}
        self._ends: dict[tuple[Tokens, ArmBatch], Reading] = {}

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
        self.work = WorkOfCalls(self.engine.n_layers)
        self._checks.begin_run()
        self.engine.release()

    def read(
        self,
        question: TokenizedQuestion,
        batch: ArmBatch,
        together: Callable[[], Sequence[TokenizedQuestion]] = lambda: (),
    ) -> Reading:
        """Ask one question under every arm of a batch.

        Args:
            question: The question.
            batch: The arms, in batch order.
            together: The questions that are always run as one with it, so that its numbers do not depend on which
                happen to wait at the same time.
        """
        known = self.known(question, batch)
        if known is not None:
            return known
        questions = list(dict.fromkeys([*together(), question]))
        with step(f"vectors and strengths of {len(batch)} arms"):
            parts = self._parts(batch, question.chat.prior)
        if batch not in self._live:
            with step(f"which of {len(batch)} arms bring their concept to mind"):
                self._live[batch] = live_vectors(self.engine, self.tokenizer, self.strengths, batch)
        if batch not in self._doses:
            with step(f"the doses of {len(batch)} arms"):
                self._doses[batch] = self.strengths.doses_of_batch(self.strengths.resolve(batch), parts)
        readings = self._checked(questions, batch, parts, self.work.questions(questions, batch))
        self._readings |= {(asked, batch): reading for asked, reading in zip(questions, readings, strict=True)}
        while len(self._readings) > _REMEMBERED_READINGS:
            del self._readings[next(iter(self._readings))]
        return self._readings[question, batch]

    def known(self, question: TokenizedQuestion, batch: ArmBatch) -> Reading | None:
        """What a question gave under a batch if it has been asked lately; safe to call while `read` runs."""
        return self._readings.get((question, batch))

    def live(self, batch: ArmBatch) -> list[bool | None]:
        """For each row of a batch that was read: whether its vector does anything, None if that does not apply."""
        return self._live[batch]

    def doses(self, batch: ArmBatch) -> list[float | None]:
        """For each row of a batch that was read: its dose in nats, None where other weights fill the cache."""
        return self._doses[batch]

    def norms(self, batch: ArmBatch) -> list[float]:
        """For each row of a batch: the norm of what is added at each layer; NaN if no norm has the dose asked for."""
        return [resolved.norm for resolved in self.strengths.resolve(batch)]

    def text_of(self, token: int) -> str:
        """A token as text; the likely ones of a run are few, and each is looked up once."""
        if token not in self._texts:
            self._texts[token] = self.tokenizer.decode([token])
        return self._texts[token]

    def self_checks(self, batch: ArmBatch) -> Record:
        """What the checks found that were made of a batch's readings."""
        return self._checks.record(batch)

    def answer_states(self, questions: Sequence[TokenizedQuestion], batch: ArmBatch) -> list[Reading]:
        """Ask all questions of one prior turn, and read the residual stream where they are answered, too.

        Args:
            questions: The questions.
            batch: The arms, in batch order.
        """
        prior = questions[0].chat.prior
        with_states = [replace(question, want=replace(question.want, residuals=True)) for question in questions]
        with step(f"vectors and strengths of {len(batch)} arms"):
            parts = self._parts(batch, prior)
        return self._checked(with_states, batch, parts, self.work.questions(questions, batch, measured=False))

    def cache_states(self, prior: Tokens, batch: ArmBatch) -> Reading:
        """Read the residual stream at the last token of a prior turn, which is steered itself.

        Args:
            prior: The prior turn; what was read is kept for those that ask again.
            batch: The arms, in batch order.
        """
        if (prior, batch) not in self._ends:
            parts = self._parts(batch, len(prior))
            with part(self.work.end_of_prior(prior, batch)):
                steered = [Arms.steered(arms.deltas, arms.deltas, arms.filler) for _, arms in parts]
                want = Want(residuals=True)
                readings = self.engine.read([Request(prior, len(prior) - 1, want, arms) for arms in steered])
            if len(self._ends) >= _REMEMBERED_ENDS:
                self._ends.clear()
            self._ends[prior, batch] = Reading.joined(list(zip((rows for rows, _ in parts), readings, strict=True)))
        return self._ends[prior, batch]

    def finetuned(self, name: str) -> TunedWeights:
        """The weights of a fine-tune, loaded, or trained, once."""
        if name not in self._finetuned:
            self._finetuned[name] = Finetune(name, self._checkpoint).load(self.engine.model)
        return self._finetuned[name]

    def _checked(
        self, questions: Sequence[TokenizedQuestion], batch: ArmBatch, parts: Parts, work: float
    ) -> list[Reading]:
        """Read questions of one prior turn, with the checks that a run makes of itself."""
        self._checks.before(parts)
        with part(work):
            readings = self.engine.read(
                [
                    Request(question.chat.tokens, question.chat.prior, question.want, arms)
                    for _, arms in parts
                    for question in questions
                ]
            )
        by_question = [readings[index :: len(questions)] for index in range(len(questions))]
        joined = [
            Reading.joined(list(zip((rows for rows, _ in parts), of_parts, strict=True))) for of_parts in by_question
        ]
        self._checks.after(questions, batch, parts, joined)
        return joined

    def _parts(self, batch: ArmBatch, prior: int) -> Parts:
        """Rows of a batch and the arms that run them, as far as the same weights fill their cache.

        Args:
            batch: The injections.
            prior: Tokens of the prior turn.
        """
        key = batch, prior if any(injection.spans for injection in batch) else 0
        if key not in self._arms:
            resolved = self.strengths.resolve(batch)
            alike: dict[tuple[int, str | None], list[int]] = {}
            for row, injection in enumerate(batch):
                alike.setdefault((injection.batch, injection.filler), []).append(row)
            self._arms[key] = [
                (
                    rows,
                    self.strengths.arms(
                        [resolved[row] for row in rows], self.finetuned(filler) if filler else None, prior
                    ),
                )
                for (_, filler), rows in alike.items()
            ]
        return self._arms[key]
