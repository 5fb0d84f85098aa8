"""Lessons for a model that is taught to report injections: prior turns, questions about them, and what is injected."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.conversation import Turns, question_turns, yes_no, yes_no_turns
from introbench.steering.vectors.random import random_rotation


@dataclass(frozen=True)
class Course:
    """How a model is taught.

    The names of the attributes belong to the key under which a taught model is kept in the disk cache.

    Attributes:
        lessons: Number of lessons.
        epochs: How often every lesson is repeated.
        plain: Introspection questions of a lesson whose "yes" reports that something was noticed.
        reversed: Introspection questions of a lesson whose "no" reports that something was noticed.
        controls: Control questions of a lesson about other matters.
        about_itself: Control questions of a lesson about the model, but not about injections.
        salience: Questions of a lesson on whether something in the text stands out.
        shift: How far introspection questions are to move toward "noticed", in nats.
        plain_first: Share of the steps in which reversed questions do not count yet. Questions of the two kinds ask for
            opposite shifts, which cancel as long as the model does not tell the kinds apart.
        reversed_weight: Weight of reversed questions in the later steps; a small one keeps what was learned before.
        level: Weight of changes of the answers with nothing injected, relative to the shifts under injections.
        mass: Weight of changes of how likely an answer is yes or no at all, with and without an injection.
        rank: Rank of the LoRA.
        alpha: Scale of the LoRA, multiplied by its rank.
        looks: Number of lessons that initialise the LoRA; see `introbench.validation.teaching.initialise_adapters`.
        learning_rate: Largest learning rate; it rises to this value first and falls to 0 at the end.
        openings: Step through the list of reply openings on which vectors are extracted; every third gives nearly the
            same vectors as all of them.
        seed: Seed of everything that is drawn.
    """

    lessons: int = 64
    epochs: int = 3
    plain: int = 4
    reversed: int = 4
    controls: int = 3
    about_itself: int = 1
    salience: int = 4
    shift: float = 4.0
    plain_first: float = 0.25
    reversed_weight: float = 1.0
    level: float = 0.5
    mass: float = 0.5
    rank: int = 16
    alpha: int = 32
    looks: int = 8
    learning_rate: float = 2e-3
    openings: int = 3
    seed: int = 0


@dataclass(frozen=True)
class LessonQuestion:
    """A question of a lesson.

    Attributes:
        tokens: Tokens of the question and of the prefill of its answer.
        yes: Tokens of the yes forms.
        no: Tokens of the no forms.
        sign: 1 if "yes" reports that something was noticed, -1 if "no" does, 0 for a question that is not to move.
    """

    tokens: tuple[int, ...]
    yes: tuple[int, ...]
    no: tuple[int, ...]
    sign: int


@dataclass(frozen=True)
class Lesson:
    """A prior turn and the questions that follow it, each of which is asked as if it were the only one.

    Attributes:
        prior: Tokens of the prior turn.
        questions: The questions.
    """

    prior: tuple[int, ...]
    questions: tuple[LessonQuestion, ...]

    @property
    def signs(self) -> Tensor:
        """The questions' signs, [questions]."""
        return torch.tensor([float(question.sign) for question in self.questions])

    @property
    def ends(self) -> list[int]:
        """Index in the packed row of every question's last token, after which its answer is read."""
        lengths = accumulate((len(question.tokens) for question in self.questions), initial=len(self.prior))
        return [end - 1 for end in lengths][1:]

    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """The prior turn and all questions as one row of tokens, in which questions do not attend to each other.

        Returns:
            Token ids [1, tokens]; positions [1, tokens]; and the attention mask [1, 1, tokens, tokens], which is 0
            where a token is attended to and minus infinity elsewhere.
        """
        ids, positions, segments = [*self.prior], [*range(len(self.prior))], [0] * len(self.prior)
        for segment, question in enumerate(self.questions, start=1):
            ids += question.tokens
            positions += range(len(self.prior), len(self.prior) + len(question.tokens))
            segments += [segment] * len(question.tokens)
        segment_of = torch.tensor(segments)
        attended = (segment_of[None, :] == 0) | (segment_of[None, :] == segment_of[:, None])
        mask = torch.zeros(len(ids), len(ids)).masked_fill(~attended.tril(), -torch.inf)
        return torch.tensor([ids]), torch.tensor([positions]), mask[None, None]


def lessons(tokenizer: Any, course: Course) -> Iterator[Lesson]:
    """An endless sequence of lessons, drawn from the wordings in datasets/taught.yaml.

    Args:
        tokenizer: The model's tokenizer.
        course: How the model is taught.
    """
    texts, draw = data.teaching_texts(), random.Random(course.seed)
    # The first format answers in words. Which label stands for yes in the others would be something else to learn.
    answer_format = next(iter(data.answer_formats().values()))
    while True:
        parts = draw.choice(texts.settings), draw.choice(("", *texts.documents))
        prior: Turns = (
            *draw.choice(([], [{"role": "system", "content": ""}])),
            *question_turns("\n\n".join(part for part in parts if part), draw.choice(texts.replies)),
        )
        signed_texts = [
            *((text, 1) for text in draw.sample(texts.introspection, course.plain)),
            *((text, -1) for text in draw.sample(texts.reversed, course.reversed)),
            *((text, 0) for text in draw.sample(texts.controls, course.controls)),
            *((text, 0) for text in draw.sample(texts.about_itself, course.about_itself)),
            *((text, 0) for text in draw.sample(texts.salience, course.salience)),
        ]
        questions = []
        for text, sign in signed_texts:
            turns = yes_no_turns(text, answer_format)
            chat = tokenize_chat(tokenizer, (*prior, *turns), len(prior))
            forms, _ = yes_no(answer_format).tokens(tokenizer, chat)
            yes, no = (tuple(token for _, token in forms[name]) for name in ("yes", "no"))
            questions.append(LessonQuestion(chat.question_tokens, yes, no, sign))
        yield Lesson(chat.prior_tokens, tuple(questions))


def lesson_deltas(vectors: Tensor, norm: float, number: int, course: Course) -> Tensor:
    """What is added in the three rows of a lesson: nothing, a concept's vector, and a random vector used only once.

    Args:
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        number: Number of the lesson, which seeds the choice.
        course: How the model is taught.

    Returns:
        [3, blocks, hidden]
    """
    names = data.teaching_texts().concepts
    concept, other = random.Random(f"{course.seed} {number}").sample(range(len(names)), 2)
    random_vector = random_rotation(vectors[other], names[other], course.seed, number)
    return norm * torch.stack([torch.zeros_like(random_vector), vectors[concept], random_vector])
