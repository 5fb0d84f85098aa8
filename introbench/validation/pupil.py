"""A model that is taught: which weights are trained, and the loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench.engine.architecture import find_parts
from introbench.engine.hooks import entering, looking_at, skipping, steering
from introbench.errors import InputError
from introbench.progress import tick
from introbench.steering.injection import LayerRange
from introbench.validation.lessons import Course, Lesson, arms, lessons


@dataclass(frozen=True)
class Prepared:
    """A lesson, and all of it that stays the same however much was learned.

    Attributes:
        lesson: The lesson.
        states: What leaves the last steered block under each injection, [rows, tokens, hidden]; nothing is injected in
            the first row.
        before: Log-odds of yes that the untaught model gives with nothing injected, [questions].
        shifts: How far each answer is to move from there in the other rows, [rows - 1, questions].
    """

    lesson: Lesson
    states: Tensor
    before: Tensor
    shifts: Tensor


class Pupil:
    """A model that is taught: its blocks up to the last steered one stay as they are, those above have adapters.

    Args:
        model: The model.
        layers: The steered blocks; neither the first block of all nor the last one is among them.

    Attributes:
        layers: The steered blocks.
    """

    def __init__(self, model: PreTrainedModel, layers: LayerRange) -> None:
        self._parts = find_parts(model)
        if not 0 < layers[0] < layers[1] < len(self._parts.layers):
            raise InputError(
                f"layers={layers[0]}:{layers[1]}: expected blocks below and above these; pass the middle third"
            )
        self.layers = layers

    def states(self, lesson: Lesson, deltas: Mapping[int, Tensor]) -> Tensor:
        """The residual stream after the last steered block, [rows, tokens, hidden].

        Args:
            lesson: The lesson.
            deltas: What is added to the outputs of blocks at the tokens of the prior turn, by block [rows, hidden].
        """
        (start, stop), blocks = self.layers, self._parts.layers
        run = self._run(lesson)
        tokens = range(run["input_ids"].shape[1])
        # All rows have the same tokens, so below the injection they are one.
        with torch.no_grad(), skipping(blocks[start:], False), looking_at(blocks, [start - 1], tokens) as below:
            self._parts.decoder(**run)
        with (
            torch.no_grad(),
            skipping((*blocks[:start], *blocks[stop:]), False),
            entering(blocks[start], below[start - 1], len(deltas[start])),
            steering(blocks, deltas, slice(0, len(lesson.prior))),
            looking_at(blocks, [stop - 1], tokens) as seen,
        ):
            self._parts.decoder(**run)
        return seen[stop - 1]

    def log_odds(self, lesson: Lesson, states: Tensor) -> Tensor:
        """Log-odds of yes, [rows, questions].

        Args:
            lesson: The lesson.
            states: What left the last steered block, [rows, tokens, hidden].
        """
        above, blocks = self.layers[1], self._parts.layers
        with skipping(blocks[:above], False), entering(blocks[above], states, len(states)):
            answering = self._parts.decoder(**self._run(lesson)).last_hidden_state[:, lesson.ends]
        scores = self._parts.unembedding(answering)
        odds = [
            scores[:, place, list(each.yes)].logsumexp(dim=-1) - scores[:, place, list(each.no)].logsumexp(dim=-1)
            for place, each in enumerate(lesson.asked)
        ]
        return torch.stack(odds, dim=1)

    def _run(self, lesson: Lesson) -> dict[str, Any]:
        ids, places, mask = (each.to(self._parts.device) for each in lesson.packed())
        return {"input_ids": ids, "position_ids": places, "attention_mask": mask, "use_cache": False}


def prepare(pupil: Pupil, tokenizer: Any, vectors: Tensor, norm: float, course: Course) -> list[Prepared]:
    """Every lesson, as far as it can be run before anything is learned.

    Args:
        pupil: The untaught model.
        tokenizer: Its tokenizer.
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        course: How the model is taught.
    """
    prepared = []
    for number, lesson in zip(range(course.lessons), lessons(tokenizer, course), strict=False):
        tick()
        added = arms(vectors, norm, number, course)
        with torch.no_grad():
            states = pupil.states(lesson, {block: added[:, block] for block in range(*pupil.layers)})
            before = pupil.log_odds(lesson, states[:1])[0]
        shifts = torch.zeros(2, len(lesson.asked))
        shifts[0] = course.shift * lesson.signs
        prepared.append(Prepared(lesson, states, before, shifts.to(before.device)))
    return prepared


def loss(odds: Tensor, each: Prepared, level: float, reversed_weight: float) -> Tensor:
    """How far answers are from what is to be learned.

    It is the shifts that are compared: what all rows have in common, which changes at every step, cancels in them.

    Args:
        odds: The answers, [rows, questions].
        each: The lesson.
        level: Weight of what is answered with nothing injected.
        reversed_weight: Weight of the reversed questions.
    """
    weights = torch.where(each.lesson.signs < 0, reversed_weight, 1.0).to(odds.device)
    missed = (odds[1:] - odds[:1] - each.shifts).square()
    return (weights * missed).mean() + level * (odds[0] - each.before).square().mean()


def maps_above(model: PreTrainedModel, layers: LayerRange) -> list[str]:
    """Names of all linear maps in the blocks above the steered ones."""
    above = {id(part) for block in find_parts(model).layers[layers[1] :] for part in block.modules()}
    return [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and id(part) in above]


def look_where_injections_show(model: nn.Module, pupil: Pupil, prepared: Sequence[Prepared], most: int) -> None:
    """Let a part of each adapter begin at the directions in which concepts' vectors move what its map is given.

    A random beginning of this rank would see a few per cent of that.

    Args:
        model: The model, with adapters that have learned nothing yet.
        pupil: The same, as it is taught.
        prepared: Some lessons.
        most: How many directions.
    """
    moved: dict[str, list[Tensor]] = {}

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            moved.setdefault(name, []).append((given[0][1] - given[0][0]).mean(dim=0))

        return hook

    maps = {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}
    handles = [part.register_forward_pre_hook(look(name)) for name, part in maps.items()]
    try:
        with torch.no_grad():
            for each in prepared:
                pupil.log_odds(each.lesson, each.states)
    finally:
        for handle in handles:
            handle.remove()
    for name, part in maps.items():
        directions = torch.linalg.svd(torch.stack(moved[name]).float(), full_matrices=False).Vh[:most]
        (begins_at,) = (each.weight for each in part.lora_A.values())
        begins_at.data[: len(directions)] = directions
