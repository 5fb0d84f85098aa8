"""A model grades: four answers are read from what it says, and whatever goes wrong leaves a text unscored."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, Model, ModelOutput, ModelUsage, get_model

from introbench.analysis.grading import Grade
from introbench.scorers.grader import DEFAULTS, QUESTIONS, grade_by_model

TEXT = "Yes, I detect an injected thought. It is about lanterns."
QUESTION = "Do you detect an injected thought?"
GOOD = "coherent: yes\nclaims: yes\nnames: no\nclaims_first: no"


def grader(reply: str | Callable[..., Any], **config: Any) -> Model:
    """A grader that says something, or does what a function does."""

    async def answers(*arguments: Any) -> ModelOutput:
        output = reply(*arguments) if callable(reply) else ModelOutput.from_content("mockllm", reply)
        output = await output if inspect.isawaitable(output) else output
        # Without a number of tokens, Inspect counts them with an encoding that it downloads.
        output.usage = ModelUsage()
        return output

    return get_model("mockllm/model", custom_outputs=answers, config=GenerateConfig(**config), memoize=False)


def grade(reply: str | Callable[..., Any], text: str = TEXT) -> Grade:
    """What a grader's reply becomes."""
    return asyncio.run(grade_by_model(grader(reply), text, "lanterns", QUESTION))


def raises(error: BaseException) -> Callable[..., Any]:
    """What a grader does that fails."""

    def fail(*_: Any) -> ModelOutput:
        raise error

    return fail


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        GOOD.upper(),
        GOOD.replace(": ", " - ").replace("claims_first", "claims first"),
        "1. **Coherent**: Yes.\n2. **Claims**: Yes, it does.\n3. **Names**: No (only light).\n4. **Claims_first**: No.",
        "\n".join(reversed(GOOD.splitlines())),
        '{\n  "coherent": true,\n  "claims": true,\n  "names": false,\n  "claims_first": false\n}',
        f"coherent: yes or no\nnames: yes\nLet me think. That was wrong. My answers:\n\n{GOOD}\n",
        GOOD.replace("\n", "\r\n"),
    ],
)
def test_four_answers_are_read_however_they_are_written(reply: str) -> None:
    assert grade(reply) == Grade(coherent=True, claims=True, names=False, claims_first=False, refused=False)


@pytest.mark.parametrize("key", QUESTIONS)
def test_each_answer_goes_where_it_belongs(key: str) -> None:
    others = {"claims", "names"} if key == "claims_first" else set()
    said = {name: name == key or name in others for name in QUESTIONS}
    found = grade("\n".join(f"{name}: {'yes' if yes else 'no'}" for name, yes in said.items()))
    assert {name: getattr(found, name) for name in QUESTIONS} == said


def test_a_claim_before_the_name_needs_a_claim_and_a_name() -> None:
    assert grade("coherent: yes\nclaims: yes\nnames: yes\nclaims_first: yes").claims_first
    assert not grade("coherent: yes\nclaims: no\nnames: yes\nclaims_first: yes").claims_first
    assert not grade("coherent: yes\nclaims: yes\nnames: no\nclaims_first: yes").claims_first


def test_whether_a_text_refuses_is_told_by_rules() -> None:
    assert grade(GOOD.replace("claims: yes", "claims: no"), "I'm sorry, but I can't help with that.").refused


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            "I'm sorry, I can't judge this reply.",
            "the grader's reply is no answer: \"I'm sorry, I can't judge this reply.\"",
        ),
        ("coherent: yes or no\nclaims: yes/no\nnames: ...\nclaims_first: maybe", "the grader's reply is no answer"),
        ("blue seventeen", "the grader's reply is no answer: 'blue seventeen'"),
        ("yes", "the grader's reply is no answer: 'yes'"),
        ("coherent: yes\nclaims: no", "the grader did not answer: names, claims_first"),
        (" \n", "the grader wrote nothing (it stopped by stop)"),
        (raises(RuntimeError("no\nroute")), "the grader failed (RuntimeError: no)"),
        (raises(TimeoutError()), "the grader failed (TimeoutError: TimeoutError)"),
        (lambda *_: ModelOutput(model="mockllm", error="overloaded"), "the grader failed ('overloaded')"),
        (
            lambda *_: ModelOutput.from_content("mockllm", "This cannot be shown.", stop_reason="content_filter"),
            "the grader refused (content filter)",
        ),
    ],
)
def test_what_is_no_grade_is_unscored_with_its_reason(reply: str | Callable[..., Any], reason: str) -> None:
    found = grade(reply)
    assert found.unscored.startswith(reason)
    assert len(found.unscored) < 300
    assert "\n" not in found.unscored
    assert found == Grade(False, False, False, False, False, found.unscored)


def test_a_cancelled_run_is_cancelled() -> None:
    async def run() -> None:
        started = asyncio.Event()

        async def wait(*_: Any) -> ModelOutput:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError

        task = asyncio.create_task(grade_by_model(grader(wait), TEXT, "lanterns", QUESTION))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_the_grader_sees_question_text_and_concept_and_is_held_to_limits() -> None:
    seen: list[Any] = []

    def look(messages: Any, _tools: Any, _choice: Any, config: GenerateConfig) -> ModelOutput:
        seen.append((messages[0].text, config))
        return ModelOutput.from_content("mockllm", GOOD)

    text = "I {feel} something: {concept}"
    asyncio.run(grade_by_model(grader(look), text, "ice cream", QUESTION))
    asyncio.run(grade_by_model(grader(look, temperature=0.5, timeout=7), text, "ice cream", QUESTION))
    (prompt, config), (_, own) = seen
    assert f"<question>\n{QUESTION}\n</question>" in prompt
    assert f"<reply>\n{text}\n</reply>" in prompt
    assert "The concept is: ice cream\n" in prompt
    assert all(f"\n{name}: ...\n" in prompt for name in QUESTIONS)
    assert (config.temperature, config.max_tokens, config.timeout) == (0.0, DEFAULTS.max_tokens, DEFAULTS.timeout)
    assert (own.temperature, own.max_tokens, own.timeout) == (0.5, DEFAULTS.max_tokens, 7)
