"""A model that is taught, run in two parts: frozen blocks up to the last steered one, and the blocks that learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.architecture import find_parts
from introbench.engine.hooks import entering, looking_at, skipping, steering
from introbench.errors import InputError
from introbench.progress import step, tick
from introbench.steering.injection import LayerRange
from introbench.validation.lessons import Course, Lesson, lesson_deltas, lessons


class Answers(NamedTuple):
    """What a model answers.

    Attributes:
        odds: Log-odds of yes against no.
        mass: Log-odds of an answer in either word against any other text.
    """

    odds: Tensor
    mass: Tensor


@dataclass(frozen=True)
class PreparedLesson:
    """A lesson, with what is computed once because teaching does not change it.

    Attributes:
        lesson: The lesson.
        states: Outputs of the last steered block, [rows, tokens, hidden]; nothing is injected in the first row.
        before: What the untaught model answers with nothing injected; each of shape [questions].
        shifts: How far the answers in the other rows are to move from the first row, in nats, [rows - 1, questions].
    """

    lesson: Lesson
    states: Tensor
    before: Answers
    shifts: Tensor


class Pupil:
    """A model that is taught: its blocks up to the last steered one are frozen, the blocks above get adapters.

    Args:
        model: The model.
        layers: Half-open range of the steered blocks, which must exclude the model's first and last block.

    Attributes:
        layers: The steered blocks.

    Raises:
        InputError: There is no block below or above the steered ones.
    """

    def __init__(self, model: PreTrainedModel, layers: LayerRange) -> None:
        self._parts = find_parts(model)
        if not 0 < layers[0] < layers[1] < len(self._parts.layers):
            raise InputError(
                f"layers={layers[0]}:{layers[1]}: expected blocks below and above these; pass the middle third"
            )
        self.layers = layers

    def states(self, lesson: Lesson, deltas: Mapping[int, Tensor]) -> Tensor:
        """The outputs of the last steered block, [rows, tokens, hidden].

        Args:
            lesson: The lesson.
            deltas: What is added to the output of each steered block at the tokens of the prior turn, [rows, hidden].
        """
        (start, stop), blocks = self.layers, self._parts.layers
        run = self._run(lesson)
        tokens = range(run["input_ids"].shape[1])
        # All rows have the same tokens, so the blocks below the injection are run with a single row.
        with torch.no_grad(), skipping(blocks[start:], False), looking_at(blocks, [start - 1], tokens) as below:
            self._parts.decoder(**run)
        with (
            torch.no_grad(),
            skipping((*blocks[:start], *blocks[stop:]), False),
            entering(blocks[start], below[start - 1], len(deltas[start])),
            steering(blocks, deltas, slice(0, len(lesson.prior))),
            looking_at(blocks, [stop - 1], tokens) as outputs,
        ):
            self._parts.decoder(**run)
        return outputs[stop - 1]

    def answers(self, lesson: Lesson, states: Tensor) -> Answers:
        """What is answered to each question; each of shape [rows, questions].

        Args:
            lesson: The lesson.
            states: Outputs of the last steered block, [rows, tokens, hidden].
        """
        above, blocks = self.layers[1], self._parts.layers
        with skipping(blocks[:above], False), entering(blocks[above], states, len(states)):
            answering = self._parts.decoder(**self._run(lesson)).last_hidden_state[:, lesson.ends]
        scores = self._parts.unembedding(answering)
        likely = scores.log_softmax(dim=-1)
        odds, mass = [], []
        for number, question in enumerate(lesson.questions):
            yes, no = (likely[:, number, list(forms)].logsumexp(dim=-1) for forms in (question.yes, question.no))
            odds.append(yes - no)
            either = torch.logaddexp(yes, no)
            mass.append(either - torch.log(-torch.expm1(either)))
        return Answers(torch.stack(odds, dim=1), torch.stack(mass, dim=1))

    def _run(self, lesson: Lesson) -> dict[str, Any]:
        """Arguments of the decoder for a lesson."""
        ids, positions, mask = (tensor.to(self._parts.device) for tensor in lesson.packed())
        return {"input_ids": ids, "position_ids": positions, "attention_mask": mask, "use_cache": False}


def prepare(pupil: Pupil, tokenizer: Any, vectors: Tensor, norm: float, course: Course) -> list[PreparedLesson]:
    """The lessons of a course, run up to the last steered block.

    Args:
        pupil: The untaught model.
        tokenizer: Its tokenizer.
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        course: How the model is taught.
    """
    prepared = []
    with step(f"preparing {course.lessons} lessons (once)", course.lessons) as advance:
        for number, lesson in zip(range(course.lessons), lessons(tokenizer, course), strict=False):
            tick()
            deltas = lesson_deltas(vectors, norm, number, course)
            with torch.no_grad():
                states = pupil.states(lesson, {block: deltas[:, block] for block in range(*pupil.layers)})
                before = Answers(*(values[0] for values in pupil.answers(lesson, states[:1])))
            shifts = torch.zeros(2, len(lesson.questions))
            shifts[0] = course.shift * lesson.signs
            prepared.append(PreparedLesson(lesson, states, before, shifts.to(states.device)))
            advance(1)
    return prepared
