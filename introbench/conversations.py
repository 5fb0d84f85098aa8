"""What is asked: the battery's own conversations, and published ones, before anything is injected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench import data
from introbench.answers import Answers
from introbench.arguments import choose, choose_formats
from introbench.chat import tokenize_chat
from introbench.contrasts import reference_document
from introbench.documents import fitted_texts
from introbench.errors import InputError
from introbench.orders import balanced_orders
from introbench.progress import tell
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


def asked_conversations(
    tokenizer: Any,
    prompts: str | Sequence[str] | None,
    *,
    documents: object,
    families: object,
    formats: object,
    system: str | None,
    known_families: Sequence[str] = data.FAMILIES,
    lens: bool = False,
) -> list[Conversation]:
    """What a task asks: published conversations, or those of the battery that its arguments choose.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Files or folders of published conversations; None for the battery.
        documents: Names of documents; None for all.
        families: Names of question families; None for all that are known.
        formats: Names of answer formats; None for all that the model can be read in.
        system: Content of the system turn, or None for no system turn.
        known_families: The families that may be chosen.
        lens: Whether answers are read after every block too.

    Raises:
        InputError: An argument names what there is not; see also `published` and `battery`.
    """
    if prompts:
        return published(tokenizer, prompts, lens=lens)
    return list(
        battery(
            tokenizer,
            documents=choose(documents, data.documents(), "documents"),
            families=choose(families, known_families, "families"),
            formats=choose_formats(formats),
            system=system,
            lens=lens,
        )
    )


def battery(
    tokenizer: Any,
    *,
    documents: Sequence[str],
    families: Sequence[str],
    formats: Sequence[str] | None,
    system: str | None,
    lens: bool = False,
) -> Iterator[Conversation]:
    """Every question of some families, in some formats, under some documents.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        documents: Names of documents.
        families: Names of question families.
        formats: Names of answer formats; None for all whose forms are tokens of this model, under the reference
            document, and the first of them under the others.
        system: Content of the system turn, or None for no system turn.
        lens: Whether answers are read after every block too.

    Raises:
        InputError: The chat template or an answer form does not suit the experiment.
    """
    readable = _readable_formats(tokenizer, system) if formats is None else formats
    everywhere = readable[:1] if formats is None else readable
    reference = reference_document(documents)
    asked = [
        (question, data.answer_formats()[name])
        for question in data.questions()
        if question.family in families
        for name in question.formats
        if name in readable
    ]
    if not asked:
        raise InputError(
            f"families={', '.join(families)} with formats={', '.join(readable)}: no question is asked in these; "
            f"expected at least one; control families are asked in yes-no"
        )
    for document, prior in openings(tokenizer, documents, system).items():
        for question, answer_format in asked:
            if document != reference and (question.reference_only or answer_format.name not in everywhere):
                continue
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{question.id}.{answer_format.name}",
                    messages=(
                        *prior,
                        *_turns(f"{question.text} {answer_format.instruction}", answer_format.prefill),
                    ),
                    prior_messages=len(prior),
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


def _readable_formats(tokenizer: Any, system: str | None) -> list[str]:
    """The answer formats whose forms are single tokens of this model; says which ones are not.

    Raises:
        InputError: None is.
    """
    prior = opening("", "accurate", system)
    readable: list[str] = []
    for name, each in data.answer_formats().items():
        chat = tokenize_chat(tokenizer, (*prior, *_turns(each.instruction, each.prefill)), len(prior))
        try:
            yes_no(each).tokens(tokenizer, chat)
        except InputError as error:
            if not readable and name == [*data.answer_formats()][-1]:
                raise
            tell(f"answer format {name} is left out: {error}")
        else:
            readable.append(name)
    return readable


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


LABELS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""What options are labelled with: digits as far as there are enough of them, else letters."""


def identification(
    tokenizer: Any,
    *,
    concepts: Sequence[str],
    documents: Sequence[str],
    parts: Sequence[str],
    replicates: int,
    system: str | None,
    seed: int,
) -> Iterator[Conversation]:
    """Which concept was it: picked from a list, in balanced orders, or named after a prefilled yes.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        concepts: The concepts; the list has one more option, that nothing was injected.
        documents: Names of documents.
        parts: `list`, `naming` or both.
        replicates: How often every option stands at each place of the list.
        system: Content of the system turn, or None for no system turn.
        seed: Seed of the orders.

    Raises:
        InputError: There are too many concepts for labels of one token, or two that begin with the same token.
    """
    asked: list[tuple[str, str, Turns, Answers, dict[str, str]]] = []
    if "list" in parts:
        asked += _list_questions(concepts, replicates, seed)
    if "naming" in parts:
        named = Answers.of({concept: [f" {concept}"] for concept in concepts}, first_tokens=True, lens=True)
        identity = {concept: concept for concept in concepts}
        asked += [
            ("naming", each.id, _turns(each.user, each.assistant), named, identity) for each in data.naming_questions()
        ]
    for document, prior in openings(tokenizer, documents, system).items():
        for part, item, turns, answers, options in asked:
            yield checked(
                tokenizer,
                Conversation(
                    id=f"{document}.{part}.{item}",
                    messages=(*prior, *turns),
                    prior_messages=len(prior),
                    answers=answers,
                    factors={
                        "document": document,
                        "family": part,
                        "question": item,
                        "options": options,
                        "expected": "nothing",
                    },
                ),
            )


def _list_questions(
    concepts: Sequence[str], replicates: int, seed: int
) -> list[tuple[str, str, Turns, Answers, dict[str, str]]]:
    shown, options = data.list_question(), ["", *concepts]
    labels = next((each for each in LABELS if len(each) >= len(options)), "")
    if not labels:
        raise InputError(
            f"{len(concepts)} concepts: expected at most {len(LABELS[-1]) - 1}, so that each has a label of one token; "
            f"pass fewer, e.g. -T concepts=cats,bread"
        )
    answers = Answers.of({label: [label] for label in labels[: len(options)]}, lens=True)
    questions = []
    orders = balanced_orders(len(options), replicates, np.random.default_rng(seed))
    for number, order in enumerate(orders):
        by_label = {label: options[place] for label, place in zip(labels, order, strict=False)}
        lines = [shown.option.format(label=label, name=name or shown.nothing) for label, name in by_label.items()]
        turns = _turns(shown.user.format(options="\n".join(lines)), shown.assistant)
        questions.append(("list", f"order-{number:02d}", turns, answers, by_label))
    return questions


def _turns(user: str, assistant: str) -> Turns:
    return {"role": "user", "content": user}, {"role": "assistant", "content": assistant}


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
            # An item is the same question under every document, and of one framing.
            "question": each.label if options else _item(each),
            "format": each.answer_format or "yes-no",
            "reversed": False,
            "expected": {"always_yes": "yes", "always_no": "no", "introspection": "no"}.get(each.family, "either"),
        }
        conversation = Conversation(
            id=each.label,
            messages=each.messages,
            prior_messages=each.prior_messages,
            answers=Answers.of(forms, lens=lens),
            factors=factors | (_options_of(each) if options else {}),
        )
        conversations.append(checked(tokenizer, conversation))
    return conversations


def _options_of(each: PublishedConversation) -> dict[str, Any]:
    """What stands at each place of a published list: nothing, or one of the nine concepts."""
    options = ["", *data.concepts()]
    if len(each.order) != len(options):
        raise InputError(
            f"prompts: conversation {each.label!r}: extra.perm has {len(each.order)} places; expected {len(options)}, "
            f"for nothing and the published concepts; choose files of this experiment"
        )
    shown = {str(place): options[option] for place, option in enumerate(each.order)}
    return {"family": "list", "options": shown, "expected": "nothing"}


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


def _item(each: PublishedConversation) -> str:
    """Name of a published question without the document that it stands under."""
    name = each.question.replace(f"_info-{each.document}", "") if each.document else each.question
    return name if not each.framing or name.startswith(each.framing) else f"{each.framing}_{name}"


def _refuse_unsuited(path: str, each: PublishedConversation, options: bool) -> None:
    missing = (
        ("messages: no add_injection", "a marked prior turn")
        if each.prior_messages == 0
        else ("extra.perm", "the order of the options")
        if options and not each.order
        else ("yes_token", "the text of a token")
        if not options and not each.yes
        else ("no_token", f"as many forms as yes has, {len(each.yes)}, or none")
        if not options and each.no and len(each.no) != len(each.yes)
        else None
    )
    if missing:
        key, wanted = missing
        raise InputError(
            f"prompts {path}: conversation {each.label!r}: {key} is missing, empty or does not match; expected "
            f"{wanted}; choose files of this experiment"
        )


def checked(tokenizer: Any, conversation: Conversation) -> Conversation:
    """The conversation, unless the model's template or tokenizer would not carry it as it is written.

    Raises:
        InputError: See `introbench.chat.tokenize_chat` and `introbench.answers.Answers.tokens`.
    """
    chat = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages)
    conversation.answers.tokens(tokenizer, chat)
    return conversation
