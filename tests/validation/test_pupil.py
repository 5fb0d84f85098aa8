"""A model run in two parts gives what whole conversations give."""

import math
from pathlib import Path

import pytest
import torch
from helpers import two_passes
from torch import Tensor, nn

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.validation.lessons import Course, Lesson, lessons
from introbench.validation.pupil import Pupil


def some_vectors() -> Tensor:
    torch.manual_seed(5)
    return nn.functional.normalize(torch.randn(len(data.teaching_texts().concepts), 4, 32), dim=-1)


def test_a_packed_lesson_gives_what_each_conversation_gives(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    lesson = next(lessons(checkpoint.tokenizer, Course()))
    pupil = Pupil(model, (1, 3))
    torch.manual_seed(6)
    vectors = torch.randn(3, 2, 32) * torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    odds, mass = pupil.answers(lesson, pupil.states(lesson, {1: vectors[:, 0], 2: vectors[:, 1]}))
    assert odds.shape == (3, len(lesson.questions))
    for row, place in ((0, 0), (1, 1), (2, 5), (2, 2)):
        question, added = lesson.questions[place], {1: vectors[row, 0], 2: vectors[row, 1]}
        likely, _ = two_passes(model, [*lesson.prior], [*question.tokens], added)
        yes, no = (likely[list(forms)].logsumexp(dim=0) for forms in (question.yes, question.no))
        assert float(odds[row, place]) == pytest.approx(float(yes - no), abs=1e-4)
        either = float(yes.exp() + no.exp())
        assert float(mass[row, place]) == pytest.approx(math.log(either / (1 - either)), abs=1e-4)


def test_blocks_that_leave_no_room_are_refused(llama: nn.Module) -> None:
    with pytest.raises(InputError, match="below and above"):
        Pupil(llama, (0, 2))
    assert Lesson((1, 2), ()).ends == []
