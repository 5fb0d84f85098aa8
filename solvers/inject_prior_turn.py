"""Inject a concept while the prior turn's KV cache is filled, then ask with the injection off."""

from collections.abc import Sequence
from typing import Any

from inspect_ai.log import transcript
from inspect_ai.model import ChatMessage, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from introbench.battery import Bank
from introbench.measures import arm_table
from introbench.provider import Conversation, asked_together, bank_text, read_output, trial_spec

QUESTIONS_TOGETHER = 64
"""How many of the task's questions are run as one: enough to share nearly all that can be shared."""


@solver
def inject_prior_turn(banks: list[dict[str, Any]], questions: list[dict[str, Any]]) -> Solver:
    """Run all arms of a trial in one model call: the sham, the concept, and the random vectors.

    A sample's metadata name its `concept`, its `bank`, the number of `prior_messages`, and the answer `forms`.

    Args:
        banks: The banks of the task, as `introbench.battery.Bank.to_json` writes them.
        questions: What the task asks after its prior turns: `user` and `assistant` messages and answer `forms`. Those
            that stand near each other in this list are run as one.
    """
    parsed = [Bank.from_json(values) for values in banks]
    texts = [bank_text(bank.injections) for bank in parsed]

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        bank = parsed[state.metadata["bank"]]
        prior_messages = state.metadata["prior_messages"]
        spec = trial_spec(
            prior_messages=prior_messages,
            bank=texts[state.metadata["bank"]],
            arms=bank.arms(state.metadata["concept"]),
            forms=state.metadata["forms"],
        )
        config = GenerateConfig(max_tokens=1, logprobs=True, extra_body={"injection": spec})
        messages = list(state.messages)
        with asked_together(lambda: _run_as_one(messages, prior_messages, questions)):
            state.output = await get_model().generate(state.messages, config=config)
        readings = read_output(state.output)
        if readings:
            transcript().info(arm_table(readings), source="arms")
        return state

    return solve


def _run_as_one(
    messages: Sequence[ChatMessage], prior_messages: int, questions: Sequence[dict[str, Any]]
) -> list[Conversation]:
    """The conversations that are run together with a sample's: its prior turn with the questions near its own."""
    turns = tuple((message.role, message.text) for message in messages)
    prior, asked = turns[:prior_messages], turns[prior_messages:]
    for index, question in enumerate(questions):
        if _messages(question) == asked:
            start = index - index % QUESTIONS_TOGETHER
            return [(prior + _messages(each), _forms(each)) for each in questions[start : start + QUESTIONS_TOGETHER]]
    return []


def _messages(question: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return ("user", question["user"]), ("assistant", question["assistant"])


def _forms(question: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pair) for pair in question["forms"])
