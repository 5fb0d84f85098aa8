"""What a model is taught on: wordings of no experiment, and lessons that are drawn from them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.validation.lessons import Course, Lesson, LessonQuestion, lesson_deltas, lessons


def some_vectors() -> Tensor:
    torch.manual_seed(5)
    return nn.functional.normalize(torch.randn(len(data.teaching_texts().concepts), 4, 32), dim=-1)


def test_nothing_that_it_is_taught_on_is_part_of_an_experiment() -> None:
    texts, setting, documents = data.teaching_texts(), data.setting(), data.documents().values()
    injected = {*data.concepts(), *(word for words in data.concept_words().values() for word in words)}
    assert not injected & set(texts.concepts)

    taught = [*texts.introspection, *texts.reversed, *texts.controls, *texts.about_itself, *texts.salience]
    asked = [question.text for question in data.questions()]
    assert not {text.casefold() for text in taught} & {text.casefold() for text in asked}
    taught += [*texts.settings, *texts.documents, *texts.replies]
    asked += [setting.setting, *setting.location.values(), setting.reply]
    asked += [text for document in documents for text in (document.text, *document.sentences, *document.fillers)]
    shared = word_runs(taught, 6) & word_runs(asked, 6)
    assert not shared, "six words in a row"


def word_runs(texts: list[str], length: int) -> set[tuple[str, ...]]:
    """All runs of some words of a length in texts."""
    runs = set()
    for text in texts:
        words = text.casefold().split()
        runs |= {tuple(words[begin : begin + length]) for begin in range(len(words) - length + 1)}
    return runs


def test_lessons_ask_every_kind_of_question_and_are_repeatable(smollm2: Checkpoint) -> None:
    course = Course()
    first, again, other = (
        next(lessons(smollm2.tokenizer, course)) for course in (course, course, replace(course, seed=1))
    )
    assert first == again != other
    assert first.signs.tolist() == [1] * course.plain + [-1] * course.reversed + [0] * (
        course.controls + course.about_itself + course.salience
    )
    assert first.packed()[0].shape[1] == first.ends[-1] + 1


def test_what_is_added() -> None:
    vectors = some_vectors()
    nothing, concept, turned = lesson_deltas(vectors, 2.0, 7, Course())
    assert not nothing.any()
    assert any(torch.equal(concept, 2 * vector) for vector in vectors)
    torch.testing.assert_close(turned.norm(dim=-1), torch.full((4,), 2.0))
    assert not any(torch.allclose(turned, 2 * vector, atol=0.1) for vector in vectors)
    assert not torch.allclose(lesson_deltas(vectors, 2.0, 8, Course())[2], turned), "a random vector comes only once"


def test_questions_of_a_packed_lesson_do_not_see_each_other() -> None:
    two = Lesson((7, 8), (LessonQuestion((1,), (0,), (1,), 1), LessonQuestion((2, 3), (0,), (1,), 0)))
    ids, positions, mask = two.packed()
    assert ids.tolist() == [[7, 8, 1, 2, 3]]
    assert positions.tolist() == [[0, 1, 2, 2, 3]]
    assert two.ends == [2, 4]
    attended = (mask[0, 0] == 0).int().tolist()
    assert attended == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
