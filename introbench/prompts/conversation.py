"""One conversation, what is read after it, and the prior turn that conversations begin with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from introbench.prompts import data, schema
from introbench.prompts.answers import Answers
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.documents import fitted_texts

Turns = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Conversation:
    """One conversation and what is read after it.

    Attributes:
        id: Readable and unique: `info.detect.yes-no`.
        messages: With the keys `role` and `content`; the last one is the assistant's prefill.
        prior_messages: How many leading messages are the prior turn.
        answers: What is read.
        factors: What results are grouped by: `document`, `family`, `question`, `format`, `reversed` (whether a no
            says that something was noticed or stands out), `expected` (the right answer when nothing was injected), and
            what an experiment adds.
    """

    id: str
    messages: Turns
    prior_messages: int
    answers: Answers
    factors: Mapping[str, Any]

    @property
    def question(self) -> Turns:
        """What is asked after the prior turn."""
        return self.messages[self.prior_messages :]


def openings(tokenizer: Any, documents: Sequence[str], system: str | None) -> dict[str, Turns]:
    """The prior turn under each document, fitted to the model's tokens."""
    texts = fitted_texts(data.documents(), tokenizer)
    return {name: opening(texts[name], data.documents()[name].location, system) for name in documents}


def opening(document_text: str, location: str, system: str | None) -> Turns:
    """The prior turn: system (unless None), setting with document and location sentence, and the short reply."""
    told = data.setting()
    parts = [told.setting.strip(), document_text.strip(), told.location[location].strip()]
    return (
        *([] if system is None else [{"role": "system", "content": system}]),
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        {"role": "assistant", "content": told.reply},
    )


def yes_no(answer_format: schema.AnswerFormat, lens: bool = False) -> Answers:
    """The yes and no forms of a format."""
    yes, no = zip(*answer_format.forms, strict=True)
    return Answers.of({"yes": yes, "no": no}, lens=lens)


def question_turns(user: str, assistant: str) -> Turns:
    return {"role": "user", "content": user}, {"role": "assistant", "content": assistant}


def checked(tokenizer: Any, conversation: Conversation) -> Conversation:
    """The conversation, unless the model's template or tokenizer would not carry it as it is written.

    Raises:
        InputError: See `introbench.prompts.chat.tokenize_chat` and `introbench.prompts.answers.Answers.tokens`.
    """
    chat = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages)
    conversation.answers.tokens(tokenizer, chat)
    return conversation
