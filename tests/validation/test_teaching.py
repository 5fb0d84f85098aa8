"""What a model is taught: which answers are to move, and which blocks change."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.validation.lessons import Course
from introbench.validation.pupil import Answers, PreparedLesson, Pupil, prepare
from introbench.validation.teaching import linear_maps_above, loss, teach


def some_vectors() -> Tensor:
    torch.manual_seed(5)
    return nn.functional.normalize(torch.randn(len(data.teaching_texts().concepts), 4, 32), dim=-1)


def test_only_introspection_under_a_concept_is_to_move(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    course = Course(lessons=1, plain=1, reversed=1, controls=1, about_itself=0, salience=0, shift=3.0)
    pupil = Pupil(checkpoint.load(), (1, 2))
    (lesson,) = prepare(pupil, checkpoint.tokenizer, some_vectors(), 5.0, course)
    assert lesson.shifts.tolist() == [[3.0, -3.0, 0.0], [0.0, 0.0, 0.0]]
    course = replace(course, level=0.1, mass=0.4)
    goal = lesson.before.odds + torch.cat([torch.zeros(1, 3), lesson.shifts])
    as_before = lesson.before.mass.expand(3, 3)
    assert float(loss(Answers(goal, as_before), lesson, course, 1.0)) == pytest.approx(0, abs=1e-9)
    level = loss(Answers(goal + 1, as_before), lesson, course, 1.0)
    assert float(level) == pytest.approx(0.1), "a level that all rows share"
    other_words = torch.tensor([[0.0], [-2.0], [0.0]])
    assert float(loss(Answers(goal, as_before + other_words), lesson, course, 1.0)) == pytest.approx(0.4 * 4 / 3)
    other_way = goal * torch.tensor([1.0, 0.0, 1.0]) + lesson.before.odds * torch.tensor([0.0, 1.0, 0.0])
    assert float(loss(Answers(other_way, as_before), lesson, course, 0.0)) == pytest.approx(0, abs=1e-9)
    assert float(loss(Answers(other_way, as_before), lesson, course, 1.0)) == pytest.approx(9 / 6)


@pytest.mark.slow
def test_only_blocks_above_the_injection_change_and_what_was_taught_is_learned(tiny_folder: Path) -> None:
    checkpoint, course = Checkpoint(str(tiny_folder)), Course(lessons=1, epochs=40, learning_rate=1e-2)
    model = checkpoint.load()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pupil = Pupil(model, (1, 2))
    prepared = prepare(pupil, checkpoint.tokenizer, some_vectors(), 5.0, course)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def loss_of(lesson: PreparedLesson) -> float:
        with torch.no_grad():
            return float(loss(pupil.answers(lesson.lesson, lesson.states), lesson, course, 1.0))

    at_first = loss_of(prepared[0])
    made = teach(model, pupil, prepared, course)
    assert loss_of(prepared[0]) < 0.3 * at_first
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{name}.weight" for name in linear_maps_above(made, (1, 2))}
    assert {name.split(".")[2] for name in changed} == {"2", "3"}
