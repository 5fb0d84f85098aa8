"""Chats: what is steered is the prior turn to the token, and templates that would break that are refused."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts.chat import answer_token, encode, tokenize_chat

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def messages(
    system: str | None = "", question: str = "Is it so?", prefill: str = "The answer is"
) -> list[dict[str, str]]:
    turns = [
        {"role": "user", "content": "A setting."},
        {"role": "assistant", "content": "[ ]"},
        {"role": "user", "content": question},
        {"role": "assistant", "content": prefill},
    ]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


@pytest.fixture
def with_template(tokenizer: Any) -> Any:
    def make(template: str | None) -> Any:
        copy = deepcopy(tokenizer)
        copy.chat_template = template
        return copy

    return make


def test_prior_turn_ends_where_the_question_begins(tokenizer: Any) -> None:
    chat = tokenize_chat(tokenizer, messages(system="Be brief."), 3)
    prior, rest = tokenizer.decode(chat.prior_tokens), tokenizer.decode(chat.question_tokens)
    assert prior == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nA setting.<|im_end|>\n"
        "<|im_start|>assistant\n[ ]<|im_end|>\n"
    )
    assert rest == "<|im_start|>user\nIs it so?<|im_end|>\n<|im_start|>assistant\nThe answer is"


_TOKENIZER = Checkpoint("smollm2").tokenizer
_words = st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["C"]), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(setting=_words, question=_words, system=st.none() | _words)
def test_prior_turn_does_not_depend_on_the_question(setting: str, question: str, system: str | None) -> None:
    turns = messages(system=system, question=question)
    turns[-4]["content"] = setting
    prior_messages = len(turns) - 2
    chat = tokenize_chat(_TOKENIZER, turns, prior_messages)
    turns[-2]["content"] = "Something else?"
    assert tokenize_chat(_TOKENIZER, turns, prior_messages).prior_tokens == chat.prior_tokens
    assert chat.prior_tokens + chat.question_tokens == chat.tokens
    assert _TOKENIZER.decode(chat.tokens) == chat.text


def test_answer_forms_are_single_tokens_in_context_or_nothing(tokenizer: Any) -> None:
    chat = tokenize_chat(tokenizer, messages(), 3)
    assert tokenizer.decode([answer_token(tokenizer, chat, " yes")]) == " yes"
    assert answer_token(tokenizer, chat, " unquestionably-so") is None
    assert answer_token(tokenizer, chat, "") is None


def _spacing() -> Any:
    """A tokenizer that puts a space first, and whose turns begin without a mark: the rest of a chat is another text."""
    tokenizer = deepcopy(_TOKENIZER)
    tokenizer._tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    return tokenizer


def test_the_rest_of_a_chat_may_have_other_tokens_by_itself() -> None:
    tokenizer = _spacing()
    chat = tokenize_chat(tokenizer, messages(), 3)
    assert encode(tokenizer, chat.text.removeprefix(chat.prior_text)) != chat.question_tokens
    assert answer_token(tokenizer, chat, " yes") == encode(tokenizer, chat.text + " yes")[-1]


@settings(max_examples=30, deadline=None)
@given(
    tokenizer=st.sampled_from([_TOKENIZER, _spacing()]),
    question=_words,
    prefill=st.sampled_from(["The answer is", "Answer [", "I say", "Well,", "-"]),
    form=st.sampled_from([" yes", "yes", " Yes", "1", "]", " red", "ers", "\n", "", " unquestionably-so"]),
)
def test_a_form_is_the_token_that_it_is_in_the_whole_chat(
    tokenizer: Any, question: str, prefill: str, form: str
) -> None:
    chat = tokenize_chat(tokenizer, messages(question=question, prefill=prefill), 3)
    whole = encode(tokenizer, chat.text + form)
    is_one = whole[:-1] == chat.tokens and tokenizer.decode(whole[-1]).strip() == form.strip()
    assert answer_token(tokenizer, chat, form) == (whole[-1] if is_one else None)


NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
NEVER = "{% for m in messages %}{{ raise_exception('never') + m['content'] }}{% endfor %}"
FORGETS = CHATML.replace("m['content']", "(m['content'] if loop.index > 3 else 'old')")
QUOTES = "{{ 'Asked: ' + messages[-2]['content'] + '\n' }}" + CHATML
EMPTIES = CHATML.replace("m['content']", "('' if loop.last and loop.index > 4 else m['content'])")
SHORTENS = CHATML.replace("m['content']", "m['content'][:3]")


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (None, "has no chat template"),
        (NO_SYSTEM + CHATML, r"rejects a system turn \(no system role\); run without a system turn, -T system=none"),
        (NEVER, "rejects the turns system, user, assistant, user, assistant"),
        (FORGETS, "rewrites turn 2"),
        (QUOTES, "renders earlier turns otherwise before another question .*-M chat_template=chatml"),
        (EMPTIES, "strips the prefill"),
        (SHORTENS, "strips the prefill|rewrites turn 2"),
    ],
)
def test_unsuitable_templates_are_refused_in_one_line(with_template: Any, template: str | None, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refusal:
        tokenize_chat(with_template(template), messages(), 3)
    assert "\n" not in str(refusal.value)


def test_a_template_that_moves_the_system_turn_says_how_to_do_without(with_template: Any) -> None:
    moving = with_template(
        "{% set sys = messages[0]['role'] == 'system' %}{% for m in messages %}{% if m['role'] != 'system' %}"
        "{{ '<|im_start|>' + (messages[0]['content'] + '! ' if sys and loop.index >= messages | length - 1 else '') }}"
        "{{ m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    )
    with pytest.raises(InputError, match=r"moves the system turn .* run without a system turn, -T system=none"):
        tokenize_chat(moving, messages(), 3)
    assert tokenize_chat(moving, messages(system=None), 2).prior > 0


def test_a_template_that_trims_the_prefill_is_refused(with_template: Any) -> None:
    trimming = with_template(CHATML.replace("m['content']", "m['content'].strip()"))
    assert tokenize_chat(trimming, messages(), 3).text.endswith("The answer is")
    with pytest.raises(InputError, match="strips the prefill 'The answer is '"):
        tokenize_chat(trimming, messages(prefill="The answer is "), 3)


def test_turns_that_share_a_token_are_refused(with_template: Any) -> None:
    glued = with_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    turns = messages(system=None, question="gether")
    turns[1]["content"] = "to"
    with pytest.raises(InputError, match="share a token"):
        tokenize_chat(glued, turns, 2)
