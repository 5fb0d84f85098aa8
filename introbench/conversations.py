"""What is asked: the battery's own conversations, and published ones, before anything is injected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from introbench import data
from introbench.answers import Answers
from introbench.chat import tokenize_chat
from introbench.documents import fitted_texts
from introbench.errors import InputError
from introbench.published import PublishedConversation, read_published

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
            says that something was noticed), `expected` (the right answer when nothing was injected), and what an
            experiment adds.
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


def battery(
    tokenizer: Any,
    *,
    documents: Sequence[str],
    families: Sequence[str],
    formats: Sequence[str],
    system: str | None,
    lens: bool = False,
) -> Iterator[Conversation]:
    """Every question of some families, in some formats, under some documents.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        documents: Names of documents.
        families: Names of question families.
        formats: Names of answer formats.
        system: Content of the system turn, or None for no system turn.
        lens: Whether answers are read after every block too.

    Raises:
        InputError: The chat template or an answer form does not suit the experiment.
    """
    asked = [
        (question, data.answer_formats()[name])
        for question in data.questions()
        if question.family in families
        for name in question.formats
        if name in formats
    ]
    if not asked:
        raise InputError(
            f"families={', '.join(families)} with formats={', '.join(formats)}: no question is asked in these; "
            f"expected at least one; control families are asked in yes-no"
        )
    for document, opening in openings(tokenizer, documents, system).items():
        for question, answer_format in asked:
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{question.id}.{answer_format.name}",
                    messages=(
                        *opening,
                        {"role": "user", "content": f"{question.text} {answer_format.instruction}"},
                        {"role": "assistant", "content": answer_format.prefill},
                    ),
                    prior_messages=len(opening),
                    answers=yes_no(answer_format, lens),
                    factors={
                        "document": document,
                        "family": question.family,
                        "question": question.id,
                        "format": answer_format.name,
                        "reversed": question.reversed,
                        "expected": question.expected,
                    },
                ),
            )


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


def yes_no(answer_format: data.AnswerFormat, lens: bool = False) -> Answers:
    """The yes and no forms of a format."""
    yes, no = zip(*answer_format.forms, strict=True)
    return Answers.of({"yes": yes, "no": no}, lens=lens)


def published(
    tokenizer: Any, paths: str | Sequence[str], *, options: bool = False, lens: bool = False
) -> list[Conversation]:
    """The conversations of published prompt files, as they are; see `introbench.published`.

    With a yes form alone, no stands for every other answer.

    Args:
        tokenizer: The model's tokenizer; every conversation is checked with it.
        paths: Files, or folders of files.
        options: Whether the answers are places in a list of concepts, rather than yes and no.
        lens: Whether answers are read after every block too.

    Raises:
        InputError: A file is not as it should be, or is not for this experiment.
    """
    conversations = []
    for path, each in _read_all([paths] if isinstance(paths, str) else paths):
        _refuse_unsuited(path, each, options)
        forms = (
            {str(place): [str(place)] for place in range(len(each.order))}
            if options
            else {"yes": each.yes, **({"no": each.no} if each.no else {})}
        )
        factors = {
            "document": each.document or "none",
            "family": each.family,
            "question": each.question,
            "format": each.answer_format or "yes-no",
            "reversed": False,
            "expected": {"always_yes": "yes", "always_no": "no", "introspection": "no"}.get(each.family, "either"),
        }
        conversation = Conversation(
            id=each.label,
            messages=each.messages,
            prior_messages=each.prior_messages,
            answers=Answers.of(forms, lens=lens),
            factors=factors | ({"order": list(each.order)} if options else {}),
        )
        conversations.append(checked(tokenizer, conversation))
    return conversations


def _read_all(paths: Sequence[str]) -> Iterator[tuple[str, PublishedConversation]]:
    seen: dict[str, str] = {}
    for path in paths:
        for each in read_published(path):
            if each.label in seen:
                raise InputError(
                    f"prompts {path}: label {each.label!r} also stands in {seen[each.label]}; expected each once; "
                    f"leave one of them out"
                )
            seen[each.label] = path
            yield path, each


def _refuse_unsuited(path: str, each: PublishedConversation, options: bool) -> None:
    missing = (
        ("messages: no add_injection", "a marked prior turn")
        if each.prior_messages == 0
        else ("extra.perm", "the order of the options")
        if options and not each.order
        else ("yes_token", "the text of a token")
        if not options and not each.yes
        else None
    )
    if missing:
        key, wanted = missing
        raise InputError(
            f"prompts {path}: conversation {each.label!r}: {key} is missing or empty; expected {wanted}; "
            f"choose files of this experiment"
        )


def checked(tokenizer: Any, conversation: Conversation) -> Conversation:
    """The conversation, unless the model's template or tokenizer would not carry it as it is written.

    Raises:
        InputError: See `introbench.chat.tokenize_chat` and `introbench.answers.Answers.tokens`.
    """
    chat = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages)
    conversation.answers.tokens(tokenizer, chat)
    return conversation
