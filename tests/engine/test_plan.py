"""Jobs: what requests have in common is asked once."""

from collections.abc import Sequence
from dataclasses import replace

from engine_requests import arms

from introbench.engine import Arms, Request, Want
from introbench.engine.plan import Job, plan
from introbench.engine.requests import Tokens

FIRST, SECOND = (1, 2, 3), (4, 5)
WANT = Want((1, 2))


def jobs(requests: Sequence[tuple[Tokens, Tokens, Arms | None]]) -> list[Job]:
    return plan([Request(prior + question, len(prior), WANT, batch) for prior, question, batch in requests])


def test_equal_requests_are_one_question_of_one_job() -> None:
    low = arms(2)
    (job,) = jobs([(FIRST, (9,), low), (FIRST, (8,), low), (FIRST, (9,), low)])
    assert job == Job(FIRST, ((8,), (9,)), (low,), every_block=False)


def test_arms_that_are_asked_the_same_are_one_job_from_the_lowest_block_up() -> None:
    low, high = arms(2), arms(2, blocks=(2, 3))
    (job,) = jobs([(FIRST, (9,), None), (FIRST, (9,), high), (FIRST, (9,), low)])
    assert job.arms == (low, high, None)


def test_prior_turns_and_arms_with_other_questions_are_jobs_of_their_own() -> None:
    low, high = arms(2), arms(2, blocks=(2, 3))
    made = jobs([(FIRST, (9,), low), (SECOND, (9,), low), (FIRST, (8,), high)])
    assert [(job.prior, job.questions, job.arms) for job in made] == [
        (FIRST, ((9,),), (low,)),
        (FIRST, ((8,),), (high,)),
        (SECOND, ((9,),), (low,)),
    ]


def test_every_block_is_looked_at_where_any_request_needs_it() -> None:
    low, high = arms(2), arms(2, blocks=(2, 3))
    lens = replace(WANT, lens=True)
    made = plan(
        [
            Request((*FIRST, 9), 3, WANT, low),
            Request((*FIRST, 9), 3, lens, low),
            Request((*FIRST, 9), 3, WANT, high),
        ]
    )
    assert [(job.arms, job.every_block) for job in made] == [((low,), True), ((high,), False)]
