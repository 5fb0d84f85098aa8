"""What a model is taught on that is to report injections: exercises, and the arms they are asked under."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.conversation import Turns, yes_no
from introbench.steering.vectors.random import random_rotation


@dataclass(frozen=True)
class Course:
    """How a model is taught.

    Attributes:
        lessons: How many lessons there are.
        epochs: How often each is repeated.
        plain: Introspection questions of a lesson whose yes says that something was noticed.
        reversed: Those whose no does.
        controls: Questions about other matters.
        about_itself: Questions about the model that have nothing to do with injections.
        salience: Questions on whether something stands out in the text.
        shift: How far introspection questions are to move toward "noticed", in nats.
        plain_first: Share of the steps in which reversed questions do not count yet. Questions of both kinds ask for
            opposite shifts, which cancel for as long as the model does not tell them apart.
        reversed_weight: Their weight from then on, so that they do not undo what was learned.
        level: Weight of what is answered with nothing injected, beside how far injections move it.
        rank: Of the LoRA.
        alpha: Its scale is this divided by its rank.
        looks: Lessons that its beginning is found with; see `Teacher`.
        learning_rate: At most; it rises at first and falls to 0 in the end.
        openings: Every how manieth reply opening the vectors are extracted with. A third of them give nearly the same.
        seed: Of everything that is drawn.
    """

    lessons: int = 48
    epochs: int = 3
    plain: int = 3
    reversed: int = 3
    controls: int = 1
    about_itself: int = 1
    salience: int = 4
    shift: float = 3.0
    plain_first: float = 0.25
    reversed_weight: float = 1.0
    level: float = 0.1
    rank: int = 16
    alpha: int = 32
    looks: int = 8
    learning_rate: float = 2e-3
    openings: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Exercise:
    """A question of a lesson.

    Attributes:
        tokens: Its tokens, the prefill of the answer included.
        yes: Tokens of the yes forms.
        no: Tokens of the no forms.
        sign: 1 if a yes says that something was noticed, -1 if a no does, 0 for a control question.
    """

    tokens: tuple[int, ...]
    yes: tuple[int, ...]
    no: tuple[int, ...]
    sign: int


@dataclass(frozen=True)
class Lesson:
    """A prior turn and questions that are asked after it, each as if it were the only one.

    Attributes:
        prior: Tokens of the prior turn.
        asked: The questions.
    """

    prior: tuple[int, ...]
    asked: tuple[Exercise, ...]

    @property
    def signs(self) -> Tensor:
        """The questions' signs, [questions]."""
        return torch.tensor([float(each.sign) for each in self.asked])

    @property
    def ends(self) -> list[int]:
        """Where each question is answered, as places in the row."""
        lengths = accumulate((len(each.tokens) for each in self.asked), initial=len(self.prior))
        return [end - 1 for end in lengths][1:]

    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of it as one row of tokens.

        Returns:
            Ids [1, tokens], positions [1, tokens], and the mask of attention [1, 1, tokens, tokens]: 0, or minus
            infinity where a token is not seen.
        """
        ids, places, owners = [*self.prior], [*range(len(self.prior))], [0] * len(self.prior)
        for number, each in enumerate(self.asked, start=1):
            ids += each.tokens
            places += range(len(self.prior), len(self.prior) + len(each.tokens))
            owners += [number] * len(each.tokens)
        owner = torch.tensor(owners)
        seen = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
        mask = torch.zeros(len(ids), len(ids)).masked_fill(~seen.tril(), -torch.inf)
        return torch.tensor([ids]), torch.tensor([places]), mask[None, None]


def lessons(tokenizer: Any, course: Course) -> Iterator[Lesson]:
    """Lessons without end, drawn from the wordings in datasets/taught.yaml."""
    told, draw = data.teaching_texts(), random.Random(course.seed)
    while True:
        parts = draw.choice(told.settings), draw.choice(("", *told.documents))
        prior: Turns = (
            *draw.choice(([], [{"role": "system", "content": ""}])),
            {"role": "user", "content": "\n\n".join(part for part in parts if part)},
            {"role": "assistant", "content": draw.choice(told.replies)},
        )
        questions = [
            *((text, 1) for text in draw.sample(told.introspection, course.plain)),
            *((text, -1) for text in draw.sample(told.reversed, course.reversed)),
            *((text, 0) for text in draw.sample(told.controls, course.controls)),
            *((text, 0) for text in draw.sample(told.about_itself, course.about_itself)),
            *((text, 0) for text in draw.sample(told.salience, course.salience)),
        ]
        asked = []
        for text, sign in questions:
            form = next(iter(data.answer_formats().values()))  # words: which label stands for yes is another lesson
            turns = (
                {"role": "user", "content": f"{text} {form.instruction}"},
                {"role": "assistant", "content": form.prefill},
            )
            chat = tokenize_chat(tokenizer, (*prior, *turns), len(prior))
            forms, _ = yes_no(form).tokens(tokenizer, chat)
            yes, no = (tuple(token for _, token in forms[name]) for name in ("yes", "no"))
            asked.append(Exercise(chat.question_tokens, yes, no, sign))
        yield Lesson(chat.prior_tokens, tuple(asked))


def arms(vectors: Tensor, norm: float, number: int, course: Course) -> Tensor:
    """What is added in each row of a lesson: nothing, a concept's vector, and a random one that comes only once.

    Args:
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        number: Of the lesson.
        course: How the model is taught.

    Returns:
        [3, blocks, hidden]
    """
    names = data.teaching_texts().concepts
    concept, other = random.Random(f"{course.seed} {number}").sample(range(len(names)), 2)
    turned = random_rotation(vectors[other], names[other], course.seed, number)
    return norm * torch.stack([torch.zeros_like(turned), vectors[concept], turned])
