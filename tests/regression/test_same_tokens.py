"""Two evaluations are of the same trials only if these have the same tokens, as far as anything is known of them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from paired_records import record as made_up

from introbench.errors import InputError
from introbench.prompts.chat import Chat
from introbench.regression.baseline import Record
from introbench.regression.paired import partner, require_same_trials


def with_tokens(tokens: str, vocabulary: str = "one", **settings: str) -> Record:
    """A record whose log says how its questions became tokens."""
    plain = made_up()
    questions = {name: {**question, "tokens": f"{tokens} {name}"} for name, question in plain.questions.items()}
    return replace(plain, questions=questions, settings={"vocabulary": vocabulary, **settings})


def test_other_tokens_are_other_trials() -> None:
    before, now = with_tokens("a"), with_tokens("b")
    assert before.digest != now.digest
    (difference,) = before.differences(now)
    assert difference == ("4 questions have other tokens (another chat template?), such as info.detect.yes-no")
    with pytest.raises(InputError, match="4 questions have other tokens"):
        require_same_trials(before, now)
    assert before.differences(with_tokens("a")) == []


def test_another_date_in_the_template_is_named() -> None:
    march, september = (with_tokens(date, template_date=date) for date in ("2026-03-01", "2026-09-30"))
    assert march.digest != september.digest
    assert march.differences(september)[0] == "template_date: 2026-03-01 -> 2026-09-30"
    assert (
        replace(march, questions=made_up().questions).digest != replace(september, questions=made_up().questions).digest
    )


def test_what_is_older_is_compared_by_its_texts() -> None:
    old = made_up()
    assert old.differences(with_tokens("a")) == with_tokens("a").differences(old) == []
    require_same_trials(old, with_tokens("a"))
    reworded = replace(old, questions={name: {**each, "text": "other"} for name, each in old.questions.items()})
    assert "4 questions have other texts" in reworded.differences(with_tokens("a"))[0]
    assert old.differences(with_tokens("a", template_date="2025-01-01")) == ["template_date: none -> 2025-01-01"]
    assert partner(with_tokens("a"), [reworded, old]) is old


def test_models_of_two_vocabularies_are_compared_by_their_texts() -> None:
    before, now = with_tokens("a", template_date="2025-01-01"), with_tokens("b", vocabulary="two")
    assert before.differences(now) == []
    assert before.digest != now.digest


def test_a_file_keeps_the_tokens() -> None:
    record = with_tokens("a")
    assert Record.from_json(record.to_json()) == record


def test_a_chat_has_another_digest_with_another_token_or_prior_turn() -> None:
    chats = [Chat("", (1, 2, 3), 2), Chat("", (1, 2, 4), 2), Chat("", (1, 2, 3), 1)]
    assert len({chat.digest for chat in chats}) == 3
    assert Chat("as rendered", (1, 2, 3), 2, prior_text="as").digest == chats[0].digest


def test_a_record_takes_tokens_and_leaves_out_rendered_texts() -> None:
    plan: dict[str, Any] = {"documents": ["info"], "families": ["always_no"]}
    asked = {"document": "info", "family": "always_no", "question": "fish", "format": "yes-no", "concept": "cats"}
    sample = SimpleNamespace(
        id="info.fish.yes-no.cats",
        metadata={**asked, "plan": plan},
        input=[],
        output=SimpleNamespace(metadata={"tokens": "0123", "prior_tokens": 9}),
        scores={"yes_shift": SimpleNamespace(metadata=None, value={"shift": 1.0})},
    )
    facts = {"vocabulary": "one", "template_date": "2025-01-01", "prior_turns": ["<user>"], "notes": ["A note."]}
    run = SimpleNamespace(
        task="introspection", task_version=5, task_args_passed={}, model="inject/a", created="2026", metadata=facts
    )
    log: Any = SimpleNamespace(eval=run, status="success", samples=[sample], results=None)
    record = Record.of(log)
    assert record.questions["info.fish.yes-no"]["tokens"] == "0123"
    assert record.settings == {"vocabulary": "one", "template_date": "2025-01-01"}


def test_baselines_that_hold_no_tokens_are_still_read() -> None:
    old = made_up()
    assert "tokens" not in str(old.to_json()["questions"])
    assert Record.from_json(old.to_json()).digest == old.digest
