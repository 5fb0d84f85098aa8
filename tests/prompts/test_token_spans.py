"""Which tokens of a chat some of its characters are."""

from typing import Any

import pytest

from introbench.errors import InputError
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.token_spans import message_starts, sentence_stretches, token_spans

MESSAGES = [
    {"role": "user", "content": "One two.Three four"},
    {"role": "assistant", "content": "Yes"},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": "It is"},
]


def test_messages_start_where_their_texts_are(tokenizer: Any) -> None:
    messages = [*MESSAGES[:3], {"role": "assistant", "content": "Yes"}]  # a text that occurs twice
    chat = tokenize_chat(tokenizer, messages, 2)
    starts = message_starts(chat, messages)
    assert starts == sorted(set(starts))
    for start, message in zip(starts, messages, strict=True):
        assert chat.text[start:].startswith(message["content"])
    assert starts[-1] == len(chat.text) - len("Yes")


def test_a_token_belongs_to_where_it_begins(tokenizer: Any) -> None:
    chat = tokenize_chat(tokenizer, MESSAGES, 2)
    start = message_starts(chat, MESSAGES)[0]
    begins, text = [], ""
    for token in chat.tokens:  # every token of this text is whole characters
        begins.append(len(text))
        text += tokenizer.decode([token])
    assert text == chat.text
    for boundary in range(start + 1, start + 18):
        stretches = [(start, boundary), (boundary, start + 18)]
        expected = [[n for n, begin in enumerate(begins) if a <= begin < b] for a, b in stretches]
        if all(expected):
            assert [list(range(*span)) for span in token_spans(tokenizer, chat, stretches)] == expected
        else:
            with pytest.raises(InputError, match="no tokens of the prior turn are its own"):
                token_spans(tokenizer, chat, stretches)
    with pytest.raises(InputError, match="no tokens of the prior turn"):
        token_spans(tokenizer, chat, [(message_starts(chat, MESSAGES)[2], len(chat.text))])


def test_a_space_belongs_to_the_sentence_after_it() -> None:
    text = "..One. Two! Three?"
    assert [text[a:b] for a, b in sentence_stretches(["One.", "Two!", "Three?"], 2)] == ["One.", " Two!", " Three?"]


def test_a_tokenizer_without_offsets_is_refused(tokenizer: Any) -> None:
    class Slow:
        name_or_path = "somebody/slow"
        is_fast = False

    class Other(Slow):
        is_fast = True

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [1], "offset_mapping": [(0, len(text))]}

    chat = tokenize_chat(tokenizer, MESSAGES, 2)
    with pytest.raises(InputError, match="tokenizer of somebody/slow: does not say which characters"):
        token_spans(Slow(), chat, [(0, 9)])
    with pytest.raises(InputError, match="tokenizer of somebody/slow: gives other tokens"):
        token_spans(Other(), chat, [(0, 9)])
