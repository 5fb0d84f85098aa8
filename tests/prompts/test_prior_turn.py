"""The prior turn's end inside a rendered chat, where the template renders the last turn otherwise than earlier ones."""

from copy import deepcopy
from typing import Any

import pytest

from introbench.errors import InputError
from introbench.prompts.chat import Chat, tokenize_chat
from introbench.prompts.prior_turn import content_stretches, own_text

MARKS = ["<|open|>", "<|text|>", "<|close|>", "<|return|>", "<|user|>", "<|assistant|>", "<|system|>"]
OTHER_END = (
    "{% for m in messages %}{{ '<|open|>' + m.role + '<|text|>' + m.content }}"
    "{{ '<|return|>' if m.role == 'assistant' and loop.last else '<|close|>' }}{% endfor %}"
)
EMPTY_THOUGHTS = (
    "{% set ns = namespace(asked=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{{ '<|open|>' + m.role + '\n' }}"
    "{{ '<think>\n\n</think>\n\n' if m.role == 'assistant' and loop.index0 > ns.asked }}{{ m.content }}"
    "{{ '<|close|>\n' }}{% endfor %}"
)
ROLES_AS_MARKS = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{{ '<think></think>' if loop.last and m.role == 'assistant' else '' }}{{ m.content }}{% endfor %}"
)
OWN_SYSTEM = "{% if messages[0].role != 'system' %}{{ '<|open|>system<|text|>You are kind.<|close|>' }}{% endif %}"


@pytest.fixture(scope="module")
def marked(tokenizer: Any) -> Any:
    with_marks = deepcopy(tokenizer)
    with_marks.add_special_tokens({"additional_special_tokens": [*with_marks.all_special_tokens, *MARKS]})
    return with_marks


def chat(tokenizer: Any, template: str, question: str = "Is it so?", system: str | None = "Be brief.") -> Chat:
    tokenizer.chat_template = template
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [
        *first,
        {"role": "user", "content": "A setting."},
        {"role": "assistant", "content": "[ ]"},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "The answer is"},
    ]
    return tokenize_chat(tokenizer, turns, len(turns) - 2)


@pytest.mark.parametrize(
    ("template", "prior"),
    [
        (OTHER_END, "<|open|>user<|text|>A setting.<|close|><|open|>assistant<|text|>[ ]<|close|>"),
        (EMPTY_THOUGHTS, "<|open|>user\nA setting.<|close|>\n<|open|>assistant\n[ ]<|close|>\n"),
        (ROLES_AS_MARKS, "<|user|>A setting.<|assistant|>[ ]"),
    ],
)
def test_the_prior_turn_ends_behind_its_own_marks(marked: Any, template: str, prior: str) -> None:
    without = chat(marked, template, system=None)
    assert without.prior_text == marked.decode(without.prior_tokens) == prior
    assert chat(marked, template).prior_text.endswith(prior)
    others = [chat(marked, template, question) for question in ("Why?", "[ ]", "The answer is")]
    assert {other.prior_tokens for other in others} == {chat(marked, template).prior_tokens}
    assert all(marked.decode(other.tokens) == other.text for other in others)


def test_a_system_text_of_the_template_ends_as_the_reply_does(marked: Any) -> None:
    found = chat(marked, OWN_SYSTEM + OTHER_END, system=None)
    assert found.prior_text.endswith("[ ]<|close|>")


def test_a_prior_turn_that_depends_on_the_question_is_refused_with_a_remedy_that_helps(marked: Any) -> None:
    with pytest.raises(InputError, match=r"otherwise before another question .*-M chat_template=chatml"):
        chat(marked, "{{ messages[-2].content }}" + OTHER_END)


def test_a_later_question_that_changes_the_prior_turn_is_refused(marked: Any) -> None:
    loud = "{% set loud = '!' in messages[-2].content %}" + OTHER_END.replace(
        "m.role +", "m.role + ('!' if loud else '') +"
    )
    chat(marked, loud)
    with pytest.raises(InputError, match="rewrites earlier turns when later ones are added"):
        chat(marked, loud, question="It is so!")


def test_a_template_is_no_remedy_where_its_marks_are_no_tokens(marked: Any) -> None:
    lacking = deepcopy(marked)
    vocabulary = lacking._tokenizer.to_str().replace("<|im_end|>", "<|im_over|>")
    lacking._tokenizer = type(lacking._tokenizer).from_str(vocabulary)
    with pytest.raises(InputError, match=r"pass another template, -M chat_template=FILE"):
        chat(lacking, "{{ messages[-2].content }}" + OTHER_END)


@pytest.mark.parametrize(
    ("template", "system", "text"),
    [
        (OTHER_END, None, ""),
        (OTHER_END, "", ""),
        (OTHER_END, "Be brief.", ""),
        (OWN_SYSTEM + OTHER_END, None, "You are kind."),
        (OWN_SYSTEM + OTHER_END, "", ""),
        (ROLES_AS_MARKS, None, ""),
        ("{{ 'A chat with a machine. ' }}" + ROLES_AS_MARKS, "Be brief.", "A chat with a machine."),
    ],
)
def test_what_a_template_writes_of_its_own_is_told(marked: Any, template: str, system: str | None, text: str) -> None:
    found = chat(marked, template, system=system)
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [
        *first,
        {"role": "user", "content": "A setting."},
        {"role": "assistant", "content": "[ ]"},
        {"role": "user", "content": "Is it so?"},
        {"role": "assistant", "content": "The answer is"},
    ]
    assert own_text(marked, found.text, turns) == text


def test_contents_are_looked_for_from_the_end() -> None:
    turns = [{"role": "user", "content": "is"}, {"role": "assistant", "content": "It is"}]
    assert content_stretches("this: is; It is", turns) == [(6, 8), (10, 15)]
