"""Sorts requests into jobs that compute nothing twice; and what a path gives back for a job."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from introbench.engine.requests import Arms, Request, Tokens


@dataclass(frozen=True)
class Job:
    """All that is asked on one prior turn: every question under every one of the arms.

    Attributes:
        prior: Token ids of the prior turn.
        questions: Distinct token sequences that follow it.
        arms: Distinct arms, those with the lowest `first` block first, so that a clean run can be resumed upwards.
        every_block: Whether anything is read after blocks before the last one.
    """

    prior: Tokens
    questions: tuple[Tokens, ...]
    arms: tuple[Arms | None, ...]
    every_block: bool


@dataclass(frozen=True)
class EndStates:
    """The model's states at the last token of questions, under some arms.

    Attributes:
        arms: The arms; None for the model with nothing added, as one row.
        questions: The questions.
        residuals: Block index to the residual stream after that block, [rows, questions, hidden]; the last block's is
            always there.
        logits: The model's own logits, float32 [rows, questions, vocabulary], where these are to be read.
    """

    arms: Arms | None
    questions: Sequence[Tokens]
    residuals: Mapping[int, Tensor]
    logits: Tensor | None = None


def plan(requests: Iterable[Request]) -> list[Job]:
    """Group requests by prior turn, and under each by what is asked of the same arms; equal ones count once."""
    asked: dict[Tokens, dict[Arms | None, dict[Tokens, bool]]] = {}
    for request in requests:
        questions = asked.setdefault(request.prior_tokens, {}).setdefault(request.arms, {})
        questions[request.question] = questions.get(request.question, False) or request.want.every_block
    jobs = []
    for prior, by_arms in asked.items():
        with_same_questions: dict[tuple[frozenset[Tokens], bool], list[Arms | None]] = {}
        for arms, questions in by_arms.items():
            key = (frozenset(questions), any(questions.values()))
            with_same_questions.setdefault(key, []).append(arms)
        for (distinct, every_block), group in with_same_questions.items():
            group.sort(key=lambda arms: (arms is None, arms.first if arms else 0))
            jobs.append(Job(prior, tuple(sorted(distinct)), tuple(group), every_block))
    return jobs
