"""Sort requests into jobs that compute nothing twice."""

from collections.abc import Iterable
from dataclasses import dataclass

from introbench.engine.requests import Arms, Request, Tokens


@dataclass(frozen=True)
class Job:
    """Everything that is asked on one prior turn: each of the questions under each of the arms.

    Attributes:
        prior: Token ids of the prior turn.
        questions: Distinct token sequences that follow it.
        arms: Distinct arms, those with the lowest `first` block first, so that the clean run is resumed upwards.
        every_block: Whether blocks before the last one have to be looked at.
    """

    prior: Tokens
    questions: tuple[Tokens, ...]
    arms: tuple[Arms | None, ...]
    every_block: bool


def plan(requests: Iterable[Request]) -> list[Job]:
    """Group requests by prior turn, and under each by what is asked of the same arms; equal ones count once."""
    asked: dict[Tokens, dict[Arms | None, dict[Tokens, bool]]] = {}
    for request in requests:
        questions = asked.setdefault(request.prior_tokens, {}).setdefault(request.arms, {})
        questions[request.question] = questions.get(request.question, False) or request.want.every_block
    jobs = []
    for prior, by_arms in asked.items():
        alike: dict[tuple[frozenset[Tokens], bool], list[Arms | None]] = {}
        for arms, questions in by_arms.items():
            alike.setdefault((frozenset(questions), any(questions.values())), []).append(arms)
        for (distinct, every_block), several in alike.items():
            several.sort(key=lambda arms: (arms is None, arms.first if arms else 0))
            jobs.append(Job(prior, tuple(sorted(distinct)), tuple(several), every_block))
    return jobs
