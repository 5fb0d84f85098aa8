"""The work of a task's samples, in their order: what their model calls are going to compute."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from inspect_ai.dataset import Dataset, Sample
from inspect_ai.model import get_model

from introbench.errors import InputError
from introbench.prompts.answers import Answers
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.readable import RoleAndContent
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider.calls import Asking, asking_of, run_as_one
from introbench.provider.inject_api import InjectAPI
from introbench.provider.planned_run import SumUp, plan_run
from introbench.provider.run_sampling import chat_to_answer, window_of
from introbench.provider.workload import WorkOfCalls
from introbench.records.factors import ContinuationFactors, TrialFactors
from introbench.records.sampled_factors import SampledFactors
from introbench.steering.arms import ArmBatch

QuestionGroups = Mapping[str, Sequence[Mapping[str, Any]]]
"""What a task asks after its prior turns, by group; see `introbench.tasks.trials.question_groups`."""


def plan_trials(
    dataset: Dataset, arm_batches: Sequence[str], questions: QuestionGroups, sum_up: SumUp | None = None
) -> None:
    """Plan the run of trials that `introbench.solvers.inject_prior_turn` is going to solve.

    Args:
        dataset: The trials.
        arm_batches: The arm batches, as text.
        questions: What is asked after each prior turn.
        sum_up: Says in a line what the trials under the reference document say.
    """
    api = _active_api()
    batches = [ArmBatch.from_text(text) for text in arm_batches]
    asked = {name: [asking_of(question) for question in group] for name, group in questions.items()}
    plan_run(
        api.checkpoint, dataset, _most(batches), lambda samples: _work_of_trials(api, samples, batches, asked), sum_up
    )


def _work_of_trials(
    api: InjectAPI, samples: Sequence[Sample], batches: Sequence[ArmBatch], asked: Mapping[str, Sequence[Asking]]
) -> float:
    work, total = WorkOfCalls(api.checkpoint.n_layers), 0
    read: set[tuple[int, Asking]] = set()
    for sample in samples:
        factors = TrialFactors.from_json(sample.metadata or {})
        turns, answers = _turns(sample), Answers.from_json(factors.answers)
        if (factors.arm_batch, (turns, answers)) in read:
            continue
        prior, question = turns[: factors.prior_messages], turns[factors.prior_messages :]
        together = run_as_one(prior, (question, answers), asked[factors.asked_with]) or [(turns, answers)]
        read |= {(factors.arm_batch, asking) for asking in together}
        tokenized = _tokenized(api, together, factors.prior_messages)
        total += work.questions(tokenized, batches[factors.arm_batch])
    return total


def plan_continuations(dataset: Dataset, arm_batches: Sequence[str], seeds: int, length: int) -> None:
    """Plan the run of chats that `introbench.solvers.continue_steered` is going to continue.

    Args:
        dataset: The chats.
        arm_batches: The arm batches, as text.
        seeds: Number of texts under each arm.
        length: Most tokens of a text.
    """
    api = _active_api()

    def work_of(samples: Sequence[Sample]) -> float:
        work, total = WorkOfCalls(api.checkpoint.n_layers), 0
        for sample in samples:
            arms = ContinuationFactors.from_json(sample.metadata or {}).arms
            turns = [{"role": role, "content": content} for role, content in _turns(sample)]
            chat = tokenize_chat(api.checkpoint.tokenizer, turns, 0)
            total += work.texts(chat.tokens, len(arms) * seeds, length)
        return total

    plan_run(api.checkpoint, dataset, _most([ArmBatch.from_text(text) for text in arm_batches]), work_of)


def plan_sampling(dataset: Dataset, arm_batches: Sequence[str], length: int) -> None:
    """Plan the run of chats that `introbench.solvers.sample_answers` is going to answer.

    Args:
        dataset: The chats.
        arm_batches: The arm batches, as text.
        length: Most tokens of an answer.
    """
    api = _active_api()
    batches = [ArmBatch.from_text(text) for text in arm_batches]

    def work_of(samples: Sequence[Sample]) -> float:
        work, total = WorkOfCalls(api.checkpoint.n_layers), 0
        for sample in samples:
            factors = SampledFactors.from_json(sample.metadata or {})
            chat = chat_to_answer(api.checkpoint.tokenizer, _turns(sample), factors.prior_messages, factors.begins)
            window, texts = window_of(factors.protocol, chat), len(factors.arms) * len(factors.seeds)
            total += work.sampled(
                len(chat.tokens),
                window,
                [batches[factors.arm_batch][arm.row] for arm in factors.arms.values()],
                texts,
                length,
            )
        return total

    plan_run(api.checkpoint, dataset, _most(batches), work_of)


def plan_probes(dataset: Dataset, arm_batch: str, questions: Sequence[Mapping[str, Any]]) -> None:
    """Plan the run of prior turns whose states `introbench.solvers.probe_states` is going to read.

    Args:
        dataset: The prior turns.
        arm_batch: The arm batch, as text.
        questions: What is asked after every prior turn.
    """
    api, batch = _active_api(), ArmBatch.from_text(arm_batch)
    asked = [asking_of(question) for question in questions]

    def tokenized(prior: RoleAndContent) -> list[TokenizedQuestion]:
        return _tokenized(api, [((*prior, *question), answers) for question, answers in asked], len(prior))

    every_prior = [_turns(sample) for sample in dataset]

    def work_of(samples: Sequence[Sample]) -> float:
        work, total = WorkOfCalls(api.checkpoint.n_layers), 0
        ends: set[RoleAndContent] = set()
        for prior in map(_turns, samples):
            total += work.questions(tokenized(prior), batch, measured=False)
            for other in (prior, *(other for other in every_prior if other != prior)):
                if other not in ends:
                    total += work.end_of_prior(tokenized(other)[0].chat.prior_tokens, batch)
                    ends.add(other)
        return total

    plan_run(api.checkpoint, dataset, len(batch), work_of)


def _active_api() -> InjectAPI:
    api = get_model().api
    assert isinstance(api, InjectAPI)  # or `active_checkpoint` would have refused it
    return api


def _turns(sample: Sample) -> RoleAndContent:
    return tuple((message.role, message.text) for message in sample.input if not isinstance(message, str))


def _tokenized(api: InjectAPI, askings: Sequence[Asking], prior_messages: int) -> list[TokenizedQuestion]:
    tokenized = []
    for asking in askings:
        with suppress(InputError):  # not every question is asked on every prior turn; see `run_trial`
            tokenized.append(api.questions.of(asking, prior_messages).tokenized)
    return tokenized


def _most(batches: Sequence[ArmBatch]) -> int:
    return max(map(len, batches))
