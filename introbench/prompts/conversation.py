"""A conversation with the answers that are read after it, and the prior turn that conversations begin with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from introbench.prompts import data, schema
from introbench.prompts.answers import Answers
from introbench.prompts.documents import fitted_texts
from introbench.prompts.readable import read_chat

Turns = tuple[dict[str, str], ...]
"""Messages with the keys `role` and `content`."""


@dataclass(frozen=True)
class Conversation:
    """One conversation and the answers that are read after it.

    Attributes:
        id: Readable and unique: `info.detect.yes-no`.
        messages: The messages; the last one is the assistant's prefill.
        prior_messages: How many leading messages are the prior turn.
        answers: The answers that are read.
        factors: What results are grouped by: `document`, `family`, `question`, `format`, `reversed` (whether "no" is
            the answer that reports something noticed or salient), `framing` (of an introspection question), `expected`
            (the right answer when nothing was injected), and further keys of an experiment.
    """

    id: str
    messages: Turns
    prior_messages: int
    answers: Answers
    factors: Mapping[str, Any]

    @property
    def question(self) -> Turns:
        """The messages after the prior turn."""
        return self.messages[self.prior_messages :]


def openings(
    tokenizer: Any, documents: Sequence[str], system: str | None, known: Mapping[str, schema.Document] | None = None
) -> dict[str, Turns]:
    """The prior turn under each of some documents, which are fitted to the model's tokens.

    Args:
        tokenizer: The model's tokenizer.
        documents: Names of documents.
        system: Content of the system turn, or None for no system turn.
        known: All documents, by name; None for ours.
    """
    entries = data.documents() if known is None else known
    texts = fitted_texts(entries, tokenizer)
    return {name: opening(texts[name], entries[name].location, system) for name in documents}


def opening(document_text: str, location: str, system: str | None) -> Turns:
    """The prior turn: system turn, user turn with setting, document and location sentence, and the prefilled reply.

    Args:
        document_text: Text of the document; may be empty.
        location: Name of the location sentence.
        system: Content of the system turn, or None for no system turn.
    """
    setting = data.setting()
    parts = [setting.setting.strip(), document_text.strip(), setting.location[location].strip()]
    return (
        *([] if system is None else [{"role": "system", "content": system}]),
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        {"role": "assistant", "content": setting.reply},
    )


def yes_no(answer_format: schema.AnswerFormat, lens: bool = False) -> Answers:
    """The answers yes and no in the forms of an answer format.

    Args:
        answer_format: The format.
        lens: Whether the answers are also read after every block (logit lens).
    """
    yes, no = zip(*answer_format.forms, strict=True)
    return Answers.of({"yes": yes, "no": no}, lens=lens)


def question_turns(user: str, assistant: str) -> Turns:
    """A question of the user, and the prefill of the assistant's answer."""
    return {"role": "user", "content": user}, {"role": "assistant", "content": assistant}


def yes_no_turns(text: str, answer_format: schema.AnswerFormat) -> Turns:
    """A yes/no question as a user asks it, and the prefill of its answer.

    How to answer comes first, so that the questions of a format share those tokens, which are then read once.
    """
    return question_turns(f"{answer_format.instruction} {text}", answer_format.prefill)


def checked(tokenizer: Any, conversation: Conversation) -> Conversation:
    """The conversation, after a check that the model's template and tokenizer leave it as it is written.

    Raises:
        InputError: See `introbench.prompts.readable.read_chat`.
    """
    turns = tuple((message["role"], message["content"]) for message in conversation.messages)
    read_chat(tokenizer, turns, conversation.prior_messages, conversation.answers)
    return conversation
