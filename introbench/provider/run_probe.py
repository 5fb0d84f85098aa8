"""A probe's call: all questions of a prior turn under all arms, and the states that they are answered from."""

from collections.abc import Mapping
from typing import Any

import anyio.to_thread
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

from introbench.prompts.answers import Answers
from introbench.prompts.readable import RoleAndContent
from introbench.provider.calls import ProbeSpec
from introbench.provider.probe_record import probe_record
from introbench.provider.questions import ReadableQuestion
from introbench.provider.resident import current_queue, one_line_errors, resident
from introbench.provider.run_trial import Provider
from introbench.records.arm_record import finite_or_none
from introbench.records.factors import side_of
from introbench.steering.arms import ArmBatch


async def run_probe(provider: Provider, messages: RoleAndContent, spec: ProbeSpec, batch: ArmBatch) -> ModelOutput:
    """Ask all questions of a prior turn under all arms, and probe the states; there is one choice, without text.

    Args:
        provider: The provider that was called.
        messages: Role and content of each message of the prior turn.
        spec: What the call carries.
        batch: The arms, in batch order; each part of it that shares a batch begins with its sham.
    """
    elsewhere = [tuple((turn["role"], turn["content"]) for turn in turns) for turns in spec.elsewhere]

    def ask(prior: RoleAndContent, question: Mapping[str, Any]) -> ReadableQuestion:
        turns = tuple((turn["role"], turn["content"]) for turn in question["messages"])
        return provider.questions.of(((*prior, *turns), Answers.from_json(question["answers"])), len(prior))

    def probe() -> ModelOutput:
        questions = [ask(messages, question) for question in spec.questions]
        priors = [ask(prior, spec.questions[0]).tokenized.chat.prior_tokens for prior in (messages, *elsewhere)]
        model = resident(provider.checkpoint)
        readings = model.answer_states([question.tokenized for question in questions], batch)
        log_odds = []
        for question, reading in zip(questions, readings, strict=True):
            answers = question.by_answer(reading.logprobs.T.double())
            log_odds.append([yes - no for yes, no in zip(answers["yes"], answers["no"], strict=True)])
        sides = [side_of(question["reversed"]) for question in spec.questions]
        ends = [model.cache_states(prior, batch) for prior in priors]
        record = probe_record(batch, log_odds, sides, readings, ends)
        message = ChatMessageAssistant(content="(states were read)", model=provider.model_name, source="generate")
        tokens = sum(len(question.tokenized.chat.tokens) for question in questions)
        return ModelOutput(
            model=provider.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="stop")],
            usage=ModelUsage(input_tokens=tokens, output_tokens=0, total_tokens=tokens),
            metadata={
                "probe": record,
                "strengths": {
                    injection.label: finite_or_none(norm)
                    for injection, norm in zip(batch, model.norms(batch), strict=True)
                },
                "forms": questions[0].form_texts,
                "layers": list(batch[0].layers),
                "model": model.facts,
                "self_checks": model.self_checks(batch).to_json(),
            },
        )

    name = repr(provider.checkpoint)
    async with current_queue().line(name, (spec.arm_batch, messages)):
        with one_line_errors():
            async with current_queue().turn(name):
                return await anyio.to_thread.run_sync(probe)
