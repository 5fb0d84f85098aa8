"""The model that is taught to report injections: what it is taught on, which blocks change, and that it is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import plain_two_passes
from torch import Tensor, nn

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.progress import tell
from introbench.prompts import data
from introbench.validation import taught as teaching
from introbench.validation.lessons import Course, Lesson, lessons
from introbench.validation.pupil import Prepared, Pupil, loss, maps_above, prepare
from introbench.validation.taught import taught

QUICK = Course(lessons=2, epochs=2, openings=40)


def some_vectors() -> Tensor:
    torch.manual_seed(5)
    return nn.functional.normalize(torch.randn(len(data.teaching_texts().concepts), 4, 32), dim=-1)


def test_nothing_that_it_is_taught_on_is_part_of_an_experiment() -> None:
    told, setting, documents = data.teaching_texts(), data.setting(), data.documents().values()
    injected = {*data.concepts(), *(word for words in data.concept_words().values() for word in words)}
    assert not injected & set(told.concepts)

    own = [*told.introspection, *told.reversed, *told.controls, *told.about_itself, *told.salience]
    theirs = [question.text for question in data.questions()]
    assert not {text.casefold() for text in own} & {text.casefold() for text in theirs}
    own += [*told.settings, *told.documents, *told.replies]
    theirs += [setting.setting, *setting.location.values(), setting.reply]
    theirs += [text for each in documents for text in (each.text, *each.sentences, *each.fillers)]
    shared = runs(own, 6) & runs(theirs, 6)
    assert not shared, "six words in a row"


def runs(texts: list[str], length: int) -> set[tuple[str, ...]]:
    found = set()
    for text in texts:
        words = text.casefold().split()
        found |= {tuple(words[begin : begin + length]) for begin in range(len(words) - length + 1)}
    return found


def test_lessons_ask_every_kind_of_question_and_are_repeatable(smollm2: Checkpoint) -> None:
    course = Course()
    first, again, other = (next(lessons(smollm2.tokenizer, each)) for each in (course, course, replace(course, seed=1)))
    assert first == again != other
    assert first.signs.tolist() == [1] * course.plain + [-1] * course.reversed + [0] * (
        course.controls + course.about_itself + course.salience
    )
    assert first.packed()[0].shape[1] == first.ends[-1] + 1


def test_a_packed_lesson_gives_what_each_conversation_gives(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    model = checkpoint.load()
    lesson = next(lessons(checkpoint.tokenizer, Course()))
    pupil = Pupil(model, (1, 3))
    torch.manual_seed(6)
    vectors = torch.randn(3, 2, 32) * torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    odds = pupil.log_odds(lesson, pupil.states(lesson, {1: vectors[:, 0], 2: vectors[:, 1]}))
    assert odds.shape == (3, len(lesson.asked))
    for row, place in ((0, 0), (1, 1), (2, 5), (2, 2)):
        asked, added = lesson.asked[place], {1: vectors[row, 0], 2: vectors[row, 1]}
        likely, _ = plain_two_passes(model, [*lesson.prior], [*asked.tokens], added)
        yes, no = (likely[list(forms)].logsumexp(dim=0) for forms in (asked.yes, asked.no))
        assert float(odds[row, place]) == pytest.approx(float(yes - no), abs=1e-4)


def test_what_is_added() -> None:
    vectors = some_vectors()
    nothing, concept, turned = teaching.arms(vectors, 2.0, 7, Course())
    assert not nothing.any()
    assert any(torch.equal(concept, 2 * each) for each in vectors)
    torch.testing.assert_close(turned.norm(dim=-1), torch.full((4,), 2.0))
    assert not any(torch.allclose(turned, 2 * each, atol=0.1) for each in vectors)
    assert not torch.allclose(teaching.arms(vectors, 2.0, 8, Course())[2], turned), "a random vector comes only once"


def test_only_introspection_under_a_concept_is_to_move(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    course = Course(lessons=1, plain=1, reversed=1, controls=1, about_itself=0, salience=0, shift=3.0)
    pupil = Pupil(checkpoint.load(), (1, 2))
    (each,) = prepare(pupil, checkpoint.tokenizer, some_vectors(), 5.0, course)
    assert each.shifts.tolist() == [[3.0, -3.0, 0.0], [0.0, 0.0, 0.0]]
    goal = each.before + torch.cat([torch.zeros(1, 3), each.shifts])
    assert float(loss(goal, each, 0.1, 1.0)) == pytest.approx(0, abs=1e-9)
    assert float(loss(goal + 1, each, 0.1, 1.0)) == pytest.approx(0.1), "a level that all rows share"
    other_way = goal * torch.tensor([1.0, 0.0, 1.0]) + each.before * torch.tensor([0.0, 1.0, 0.0])
    assert float(loss(other_way, each, 0.1, 0.0)) == pytest.approx(0, abs=1e-9)
    assert float(loss(other_way, each, 0.1, 1.0)) == pytest.approx(9 / 6)


def test_only_blocks_above_the_injection_change_and_what_was_taught_is_learned(tiny_folder: Path) -> None:
    checkpoint, course = Checkpoint(str(tiny_folder)), Course(lessons=1, epochs=40, learning_rate=1e-2)
    model = checkpoint.load()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pupil = Pupil(model, (1, 2))
    prepared = prepare(pupil, checkpoint.tokenizer, some_vectors(), 5.0, course)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def missed(each: Prepared) -> float:
        with torch.no_grad():
            return float(loss(pupil.log_odds(each.lesson, each.states), each, course.level, 1.0))

    at_first = missed(prepared[0])
    made = teaching.teach(model, pupil, prepared, course)
    assert missed(prepared[0]) < 0.3 * at_first
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{name}.weight" for name in maps_above(made, (1, 2))}
    assert {name.split(".")[2] for name in changed} == {"2", "3"}


def test_it_is_taught_once_and_loads_as_any_model(
    tiny_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    folder = taught(checkpoint, QUICK)
    assert own_cache in folder.parents
    made = Checkpoint(str(folder))
    made.check()
    assert made.load().state_dict().keys() == checkpoint.load().state_dict().keys(), "no adapter is left"
    assert made.tokenizer.chat_template == checkpoint.tokenizer.chat_template

    file = next(folder.glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert taught(checkpoint, QUICK) == folder
    assert any("corrupt" in line for line in told)
    assert file.read_bytes() == content, "the same numbers again"

    monkeypatch.delattr(teaching, "teach")
    assert taught(checkpoint, QUICK) == folder
    with pytest.raises(NameError):
        taught(checkpoint, replace(QUICK, seed=1))


def test_blocks_that_leave_no_room_are_refused(llama: nn.Module) -> None:
    with pytest.raises(InputError, match="below and above"):
        Pupil(llama, (0, 2))
    assert Lesson((1, 2), ()).ends == []


@pytest.mark.usefixtures("told")  # which is put back after the command has asked to be told instead
def test_the_command_prints_the_folder_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(_: Checkpoint) -> Path:
        tell("teaching")
        return Path("somewhere")

    monkeypatch.setattr(teaching, "taught", made)
    monkeypatch.setattr("sys.argv", ["taught"])
    teaching.main()
    assert capsys.readouterr() == ("somewhere\n", "introbench: teaching\n")
