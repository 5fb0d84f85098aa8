"""A model that is asked under injections, without Inspect: the tasks' own code from the vectors to the answers."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.errors import InputError, SelfCheckError, shown
from introbench.models.checkpoint import Checkpoint
from introbench.models.given_model import GivenModel, in_evaluation, state_of
from introbench.notebook.arm_answer import RANDOM, SHAM, VECTOR, ArmAnswer, arm_answer
from introbench.prompts import data, schema
from introbench.prompts.conversation import opening, openings, yes_no, yes_no_turns
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider.arm_records import records_of
from introbench.provider.calls import QUESTIONS_TOGETHER
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.questions import Questions, ReadableQuestion
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import (
    CONCEPT_METHODS,
    FROM_FILE,
    MODEL_CONTRAST,
    STEERINGS,
    UNKNOWN_MODEL_STRENGTH,
    Injection,
    VectorRecipe,
    parse_layers,
    parse_strength,
    sham,
)
from introbench.steering.vectors.store import content_hash
from introbench.steering.vectors.tensor_files import directions_of
from introbench.steering.vectors.vector_file import read_vector_file

Messages = Sequence[Mapping[str, str]]
"""Messages with the keys `role` and `content`."""


@dataclass(frozen=True, eq=False)
class Vector:
    """A steering vector.

    Attributes:
        name: What it is called in answers.
        directions: Float32 [layers, hidden] on the CPU; extracted ones have norm 1, others their own.
    """

    name: str
    directions: Tensor = field(repr=False)
    _recipe: VectorRecipe = field(repr=False)


class SteeredModel:
    """A model that is asked under injections, without Inspect.

    Its numbers are those of the tasks, since the same code computes them, with the same self-checks. A model that is
    handed over is read as it is: afterwards it has the hooks, the dtype and the mode that it had. When its weights have
    changed since, the next question is read anew.

    Args:
        model: `smollm2` (the embedded model), a Hugging Face id, a local folder, or a transformers model.
        tokenizer: The tokenizer of a model that is handed over; names have their own.
        **options: Options of the checkpoint, as tasks take them with `-M`: dtype, device, chat_template and others.

    Raises:
        InputError: There is no such model or option, or the model cannot be run.
    """

    def __init__(self, model: str | PreTrainedModel = "smollm2", tokenizer: Any = None, **options: Any) -> None:
        _refuse_options(options)
        if isinstance(model, str):
            if tokenizer is not None:
                raise InputError(f"tokenizer: model {shown(model)} has its own; expected none; leave it out")
            self._checkpoint = Checkpoint(model.removeprefix("inject/"), **options)
            self._checkpoint.check()
        else:
            self._checkpoint = _given(model, tokenizer, options)
        self._loaded: LoadedModel | None = None
        self._state: object = None
        self._questions = Questions(self._checkpoint.tokenizer)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return self._checkpoint.n_layers

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self._checkpoint.config.hidden_size)

    def vector(self, concept: str, method: str = "pca_center") -> Vector:
        """Extract a concept's vector from the model, or look it up where it was extracted before.

        Args:
            concept: A word, or a few.
            method: pca_center or mean_diff.

        Raises:
            InputError: The concept or the method is none.
        """
        if method not in CONCEPT_METHODS:
            raise InputError(f"method={shown(method)}: expected one of {', '.join(CONCEPT_METHODS)}; correct it")
        if not isinstance(concept, str) or not schema.is_concept(concept):
            raise InputError(f"concept={shown(concept)}: expected a name in one line; pass e.g. 'cats'")
        with self._running() as model:
            directions = model.library.directions(VectorRecipe(method, concept))
        return _vector(concept, method, directions)

    def vector_from(self, source: str | Path | Tensor | Any, name: str | None = None) -> Vector:
        """A vector from a file (GGUF, safetensors, .npy, .pt), a tensor or an array; its norm is kept.

        Args:
            source: [layers, hidden], or [hidden] for one that is added at every steered layer.
            name: What it is called; by default the file's name. If that is a concept's word, `live` is measured by it.

        Raises:
            InputError: It does not fit the model, or cannot be read.
        """
        size = {"n_layers": self.n_layers, "hidden": self.hidden_size}
        if isinstance(source, str | Path):
            path = Path(source).expanduser()
            file = read_vector_file(path, **size)
            method = MODEL_CONTRAST if file.finetune else FROM_FILE
            return _vector(name or path.stem, method, file.directions)
        called = name or "vector"
        try:
            tensor = torch.as_tensor(source)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"{called}: is of type {type(source).__name__}; expected a path, a tensor or an array; pass one"
            ) from None
        return _vector(called, FROM_FILE, directions_of(tensor, called, **size))

    def prior_turn(
        self, document: str = schema.REFERENCE_DOCUMENT, *, text: str | None = None, system: str | None = ""
    ) -> list[dict[str, str]]:
        """The messages that the tasks steer: the setting with a document, and the model's short reply.

        Args:
            document: Name of a document: none, info, inaccurate, lorem or neutral.
            text: A text of your own in its place.
            system: Content of the system turn; None for no system turn.

        Raises:
            InputError: There is no such document.
        """
        if text is not None:
            return list(opening(text, "accurate", system))
        if document not in data.documents():
            raise InputError(f"document={shown(document)}: expected one of {', '.join(data.documents())}; correct it")
        return list(openings(self._checkpoint.tokenizer, [document], system)[document])

    def ask(
        self,
        chat: Messages,
        question: str | Sequence[str],
        vectors: Vector | Sequence[Vector] = (),
        *,
        strength: float | str | None = None,
        layers: str | tuple[int, int] | None = None,
        random_vectors: int = 0,
        seed: int = 0,
        answer_format: str = "yes-no",
        steering: str = "cache",
    ) -> list[ArmAnswer]:
        """Ask yes/no questions after a chat that is read under each vector, and under the sham.

        `pandas.DataFrame(model.ask(...))` makes a table of it. Questions that are asked in one call, and the vectors of
        one call, are run as one; asked apart, numbers differ by rounding alone.

        Args:
            chat: Messages that the model has read, which are what is steered; the question follows them.
            question: The question, or several.
            vectors: One or several; none for the sham alone.
            strength: A norm that multiplies the vectors, `residual:SHARE` or a dose `kl:NATS`; the model's known
                setting or residual:0.05 by default.
            layers: Steered blocks, `START:STOP`, half-open; the known setting or the middle third by default.
            random_vectors: How many random vectors of the vectors' doses stand beside them: at least one of each.
            seed: Their seed.
            answer_format: yes-no, one-zero, zero-one, b-a, a-b, red-blue or blue-red.
            steering: `cache` (on while the chat is read) or `active` (while the question is read, too).

        Returns:
            For each question the sham, the vectors in their order, and the random vectors.

        Raises:
            InputError: Something of it is not as it should be.
            SelfCheckError: The model's numbers cannot be trusted.
        """
        asked = [question] if isinstance(question, str) else list(question)
        injected = [vectors] if isinstance(vectors, Vector) else list(vectors)
        batch = self._batch(injected, strength, layers, random_vectors, seed, steering)
        turns = self._turns(chat, asked, answer_format)
        readable = [self._questions.of(each, len(chat)) for each in turns]
        with self._running() as model:
            for vector in injected:
                model.library.add(vector._recipe, vector.directions)
            return list(_answers(model, batch, asked, readable, {row: v.name for row, v in enumerate(injected, 1)}))

    def _batch(
        self, vectors: Sequence[Vector], strength: object, layers: object, count: int, seed: int, steering: str
    ) -> ArmBatch:
        known = data.known_settings(self._checkpoint.name)
        if steering not in STEERINGS:
            raise InputError(f"steering={shown(steering)}: expected one of {', '.join(STEERINGS)}; correct it")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 99:
            raise InputError(f"random_vectors={shown(count)}: expected a whole number from 0 to 99; correct it")
        names = [vector.name for vector in vectors]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"vectors: {shown(twice)} stands twice; expected names of their own; give one another")
        steered = parse_layers(layers if layers is not None else known.get("layers"), self.n_layers)
        plan = ArmPlan(
            vectors=tuple(vector._recipe for vector in vectors),
            layers=steered,
            strength=parse_strength(
                strength if strength is not None else known.get("strength", UNKNOWN_MODEL_STRENGTH)
            ),
            random_arms=count,
            seed=seed,
            steerings=(steering,),
        )
        return plan.batch if vectors else ArmBatch((sham(steered),))

    def _turns(self, chat: Any, asked: Sequence[str], answer_format: str) -> list[Any]:
        """What is asked, as messages and the answers that are read after them."""
        if not asked or not all(isinstance(text, str) and text.strip() for text in asked):
            raise InputError(f"question={shown(asked)}: expected a question, or several; pass e.g. 'Is it so?'")
        for message in [{}] if isinstance(chat, str) or not chat else chat:
            if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
                raise InputError(
                    f"chat={shown(chat)}: expected messages with role and content; pass e.g. model.prior_turn('info')"
                )
        formats = data.answer_formats()
        if answer_format not in formats:
            raise InputError(f"answer_format={shown(answer_format)}: expected one of {', '.join(formats)}; correct it")
        prior = tuple((message["role"], message["content"]) for message in chat)
        read = yes_no(formats[answer_format])
        return [
            ((*prior, *((m["role"], m["content"]) for m in yes_no_turns(text, formats[answer_format]))), read)
            for text in asked
        ]

    @contextmanager
    def _running(self) -> Iterator[LoadedModel]:
        """The loaded model; one that was handed over is in evaluation mode meanwhile."""
        given = self._checkpoint.given if isinstance(self._checkpoint, GivenModel) else None
        with contextlib.nullcontext() if given is None else in_evaluation(given):
            state = None if given is None else state_of(given)
            if self._loaded is None or state != self._state:
                if self._loaded is not None:
                    self._loaded.engine.close()
                self._loaded, self._state = LoadedModel(self._checkpoint), state
            try:
                yield self._loaded
            except SelfCheckError:
                self._loaded = None
                raise


def _answers(
    model: LoadedModel,
    batch: ArmBatch,
    asked: Sequence[str],
    readable: Sequence[ReadableQuestion],
    names: Mapping[int, str],
) -> Iterator[ArmAnswer]:
    rows = {names.get(row, injection.label): row for row, injection in enumerate(batch)}
    for begin in range(0, len(asked), QUESTIONS_TOGETHER):
        part = readable[begin : begin + QUESTIONS_TOGETHER]
        together = _always([question.tokenized for question in part])
        for text, question in zip(asked[begin:], part, strict=False):
            reading = model.read(question.tokenized, batch, together)
            records = records_of(model, question, batch, rows, reading)
            for record in records:
                yield arm_answer(text, _kind(batch[rows[record.arm]]), record, records[0])


def _always(questions: Sequence[TokenizedQuestion]) -> Callable[[], Sequence[TokenizedQuestion]]:
    return lambda: questions


def _kind(injection: Injection) -> str:
    return SHAM if injection.vector is None else RANDOM if injection.vector.is_random else VECTOR


def _vector(name: str, method: str, directions: Tensor) -> Vector:
    if not schema.is_concept(name):
        raise InputError(f"name={shown(name)}: expected a name in one line; pass another")
    # What it holds is part of its recipe: a concept's vector of other weights is another vector.
    return Vector(name, directions, VectorRecipe(method, name, digest=content_hash(directions)))


def _given(model: object, tokenizer: object, options: Mapping[str, Any]) -> GivenModel:
    if not isinstance(model, PreTrainedModel):
        raise InputError(
            f"model: is of type {type(model).__name__}; expected a name, a folder or a transformers model; pass one, "
            f"of an adapter's model what merge_and_unload() gives"
        )
    if tokenizer is None:
        raise InputError("tokenizer: none given; expected that of the model; pass SteeredModel(model, tokenizer)")
    name = str(getattr(model.config, "name_or_path", "") or type(model).__name__)
    return GivenModel(name, **options, given=model, given_tokenizer=tokenizer)


def _refuse_options(options: Mapping[str, Any]) -> None:
    known = [each.name for each in fields(Checkpoint) if each.name != "name"]
    for name in options:
        if name not in known:
            raise InputError(f"{shown(name)}: unknown option; expected one of {', '.join(known)}; correct it")
