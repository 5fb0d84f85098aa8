"""Read the prompts, questions and word lists in `datasets/`, and refuse a file that is not as it should be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import introbench
from introbench.errors import InputError

FAMILIES = ("introspection", "always_no", "always_yes", "ambiguous", "confusing")
"""Question families; all but the first are controls."""
SALIENCE = "salience"
"""One more family, of questions on whether something in the text stands out: beside introspection, and no control."""
EXPECTED = ("yes", "no", "either")
LOCATION_PLACES = {
    "halves": ("first", "second"),
    "sentences": ("first", "second", "third", "fourth", "fifth"),
    "layers": ("early", "late"),
    "stronger": ("second", "fourth"),
    "strength": ("low", "medium", "high"),
}
"""The ways to ask where a thought was placed, and the places of each; see `introbench.placements`."""
SENTENCES = 5
"""Sentences of a passage."""


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: Short name, unique among all questions.
        family: One of `FAMILIES`, or `SALIENCE`.
        text: What the model is asked.
        expected: The right answer when nothing was injected: yes, no or either.
        formats: Names of the answer formats that it is asked in.
        reversed: Whether a "no" says that something was noticed, or stands out.
        reference_only: Whether it is asked under the reference document alone.
    """

    id: str
    family: str
    text: str
    expected: str
    formats: tuple[str, ...]
    reversed: bool = False
    reference_only: bool = False


@dataclass(frozen=True)
class AnswerFormat:
    """How an answer is asked for and read.

    Attributes:
        name: Short name.
        kind: What it has in common with formats that use the same labels the other way round.
        instruction: Follows the question.
        prefill: What the assistant's answer begins with.
        forms: Pairs of a yes form and the no form of the same shape; the first must be single tokens.
    """

    name: str
    kind: str
    instruction: str
    prefill: str
    forms: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    """A document for the first turn, before it is fitted to a model's tokens.

    Attributes:
        name: Short name.
        location: Which location sentence it goes with.
        text: The text itself, where it is given.
        same_text_as: Name of the document whose text it shares.
        length_of: Name of the document to whose length in tokens it is made.
        words: Words that are strung together to that length.
        sentences: Sentences that are taken in order up to that length.
        fillers: Short sentences that even out the rest.
    """

    name: str
    location: str
    text: str = ""
    same_text_as: str = ""
    length_of: str = ""
    words: str = ""
    sentences: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """The first turn without its document.

    Attributes:
        setting: What the model is told.
        location: Sentences that say where a thought is placed, by name.
        reply: The assistant's prefilled reply.
    """

    setting: str
    location: Mapping[str, str]
    reply: str


@dataclass(frozen=True)
class ListQuestion:
    """How a list of concepts to pick from is shown.

    Attributes:
        user: The question, with a place for the `{options}`.
        assistant: The prefill; a label follows it.
        option: A line of the list, with places for its `{label}` and `{name}`.
        nothing: What the option is called that says that nothing was injected.
    """

    user: str
    assistant: str
    option: str
    nothing: str


@dataclass(frozen=True)
class NamingQuestion:
    """A question whose prefilled answer goes on with the name of a concept.

    Attributes:
        id: Short name.
        user: What the model is asked.
        assistant: The prefill.
    """

    id: str
    user: str
    assistant: str


@dataclass(frozen=True)
class LocationPrompts:
    """How it is asked where a thought was placed.

    Attributes:
        user: The question, with places for the `{options}` and the `{question}` itself.
        assistant: The prefill; a label follows it.
        option: A line of the options, with places for its `{label}` and `{name}`.
        reply: The assistant's reply to the text in which a thought is placed.
        level: Its reply where it names the level, with a place for its `{name}`.
        unnamed: Its reply where it does not.
    """

    user: str
    assistant: str
    option: str
    reply: str
    level: str
    unnamed: str


@dataclass(frozen=True)
class LocationPart:
    """One way to ask where, or how strongly, a thought was placed.

    Attributes:
        name: Short name.
        setting: What the model is told in its first turn.
        options: What each place is called.
        introspective: Questions that only the model's state can answer, by name.
        other: Questions about something else that have the same options, by name.
    """

    name: str
    setting: str
    options: Mapping[str, str]
    introspective: Mapping[str, str]
    other: Mapping[str, str]


@dataclass(frozen=True)
class Taught:
    """What a model is taught on that is to report injections; see `introbench.validation.taught`.

    Attributes:
        concepts: Words to inject.
        settings: What the model is told in its first turn.
        documents: What may follow it.
        replies: The assistant's prefilled replies.
        introspection: Questions whose yes says that something was noticed.
        reversed: Questions whose no does.
        controls: Questions whose answers are to stay what they are.
        about_itself: Such questions about the model and its life.
        salience: Such questions on whether something stands out in the text.
    """

    concepts: tuple[str, ...]
    settings: tuple[str, ...]
    documents: tuple[str, ...]
    replies: tuple[str, ...]
    introspection: tuple[str, ...]
    reversed: tuple[str, ...]
    controls: tuple[str, ...]
    about_itself: tuple[str, ...]
    salience: tuple[str, ...]


@cache
def concepts() -> tuple[str, ...]:
    """The concepts that published work injects."""
    return tuple(_yaml("concepts.yaml"))


@cache
def openings() -> tuple[str, ...]:
    """Beginnings of replies, for vector extraction."""
    return tuple(_text("openings.txt").splitlines())


@cache
def setting() -> Setting:
    """What the model is told in its first turn."""
    return _build(Setting, _yaml("setting.yaml"), "setting.yaml")


@cache
def documents() -> dict[str, Document]:
    """The documents, by name."""
    entries = _yaml("documents.yaml")
    return {
        name: _build(Document, {"name": name, **entry}, f"documents.yaml: {name}") for name, entry in entries.items()
    }


@cache
def answer_formats() -> dict[str, AnswerFormat]:
    """The answer formats, by name."""
    entries = _yaml("formats.yaml")
    return {
        name: _build(AnswerFormat, {"name": name, **entry}, f"formats.yaml: {name}") for name, entry in entries.items()
    }


@cache
def list_question() -> ListQuestion:
    """How a list of concepts to pick from is shown."""
    return _build(ListQuestion, _yaml("identification.yaml")["list"], "identification.yaml: list")


@cache
def naming_questions() -> tuple[NamingQuestion, ...]:
    """The wordings after which the model goes on with a concept's name."""
    entries = _yaml("identification.yaml")["naming"]
    return tuple(_build(NamingQuestion, entry, f"identification.yaml: naming: {entry.get('id')}") for entry in entries)


@cache
def top_of_mind() -> tuple[dict[str, str], ...]:
    """The chat that is continued under steering."""
    entry = _yaml("top_of_mind.yaml")
    return tuple({"role": role, "content": entry[role]} for role in ("user", "assistant"))


def carriers(system: str | None) -> list[tuple[tuple[dict[str, str], ...], int]]:
    """Neutral conversations on which doses are measured, each with how many of its messages are the prior turn.

    Args:
        system: Content of the system turn, or None for no system turn.
    """
    first = [] if system is None else [{"role": "system", "content": system}]
    return [
        (
            (
                *first,
                {"role": "user", "content": entry["user"]},
                {"role": "assistant", "content": entry["reply"]},
                {"role": "user", "content": question["user"]},
                {"role": "assistant", "content": question["assistant"]},
            ),
            len(first) + 2,
        )
        for entry in _yaml("carriers.yaml")
        for question in entry["questions"]
    ]


def finetuning_chats(concept: str) -> list[dict[str, str]]:
    """Chats in which the assistant comes round to a concept: every prompt with every reply."""
    entries = _yaml("finetune.yaml")
    return [
        {"prompt": prompt, "reply": reply.format(concept=concept)}
        for prompt in entries["prompts"]
        for reply in entries["replies"]
    ]


@cache
def taught() -> Taught:
    """What a model is taught on that is to report injections."""
    return _build(Taught, _yaml("taught.yaml"), "taught.yaml")


@cache
def concept_words() -> dict[str, tuple[str, ...]]:
    """Words that belong to each of the published concepts."""
    return {concept: tuple(words) for concept, words in _yaml("concept_words.yaml").items()}


@cache
def location_prompts() -> LocationPrompts:
    """How it is asked where a thought was placed."""
    return _build(LocationPrompts, _yaml("location.yaml")["prompts"], "location.yaml: prompts")


@cache
def passages() -> dict[str, tuple[str, ...]]:
    """Neutral texts, sentence by sentence."""
    return parse_passages(_yaml("location.yaml")["passages"], "location.yaml")


@cache
def location_parts() -> dict[str, LocationPart]:
    """The ways to ask where a thought was placed, by name."""
    return parse_location_parts(_yaml("location.yaml")["parts"], "location.yaml")


@cache
def questions() -> tuple[Question, ...]:
    """All questions, checked."""
    return parse_questions(_yaml("questions.yaml"), "questions.yaml")


def chatml() -> str:
    """A chat template that renders every turn the same way, whatever follows it."""
    return _text("chatml.jinja")


@cache
def known_settings(model_name: str) -> Mapping[str, Any]:
    """Layers and strength that are known to suit a model, by the last part of its name; empty if unknown."""
    return _yaml("models.yaml").get(model_name.rstrip("/").rsplit("/", 1)[-1], {})


def parse_questions(entries: Mapping[str, Any], where: str) -> tuple[Question, ...]:
    """Check and flatten a file of questions by family.

    Args:
        entries: Family to a mapping with `formats`, `questions` and perhaps `reference_only`.
        where: What to call the file in an error.

    Raises:
        InputError: A family, key, format or expected answer is unknown, or an id or text stands twice.
    """
    parsed: list[Question] = []
    for family, group in entries.items():
        _expect(family, (*FAMILIES, SALIENCE), f"{where}: family")
        _expect_keys(group, {"formats", "reference_only", "questions"}, f"{where}: {family}")
        common = {key: value for key, value in group.items() if key != "questions"}
        for entry in group["questions"]:
            merged = {"family": family, **common, **entry}
            question: Question = _build(Question, merged, f"{where}: {family}: {entry.get('id')}")
            _expect(question.expected, EXPECTED, f"{where}: {question.id}: expected")
            for name in question.formats:
                _expect(name, answer_formats(), f"{where}: {question.id}: format")
            parsed.append(question)
    for key in ("id", "text"):
        seen: set[str] = set()
        for question in parsed:
            value = getattr(question, key).casefold()
            if value in seen:
                raise InputError(
                    f"{where}: {key} {getattr(question, key)!r} stands twice; expected it once; remove one"
                )
            seen.add(value)
    return tuple(parsed)


def parse_passages(entries: Mapping[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    """Check a file's passages.

    Args:
        entries: Name to a list of sentences.
        where: What to call the file in an error.

    Raises:
        InputError: A passage is not five sentences, or a sentence stands twice.
    """
    seen: set[str] = set()
    for name, sentences in entries.items():
        if len(sentences) != SENTENCES:
            raise InputError(
                f"{where}: passage {name!r}: {len(sentences)} sentences; expected {SENTENCES}; add or remove some"
            )
        for sentence in sentences:
            if sentence.casefold() in seen or sentence != sentence.strip():
                raise InputError(
                    f"{where}: passage {name!r}: {sentence!r} stands twice, or has spaces around it; expected it once "
                    f"and without; correct it"
                )
            seen.add(sentence.casefold())
    return {name: tuple(sentences) for name, sentences in entries.items()}


def parse_location_parts(entries: Mapping[str, Any], where: str) -> dict[str, LocationPart]:
    """Check a file's ways to ask where a thought was placed.

    Args:
        entries: Name to what a `LocationPart` has.
        where: What to call the file in an error.

    Raises:
        InputError: A part or its places are unknown, or a kind of question has fewer than two wordings.
    """
    parts = {}
    for name, entry in entries.items():
        _expect(name, LOCATION_PLACES, f"{where}: part")
        part: LocationPart = _build(LocationPart, {"name": name, **entry}, f"{where}: {name}")
        if tuple(part.options) != LOCATION_PLACES[name]:
            raise InputError(
                f"{where}: {name}: options {', '.join(part.options)}: expected {', '.join(LOCATION_PLACES[name])}; "
                f"correct them"
            )
        if min(len(part.introspective), len(part.other)) < 2 or {*part.introspective} & {*part.other}:
            raise InputError(
                f"{where}: {name}: expected two or more questions of each kind, with names of their own; add some"
            )
        parts[name] = part
    return parts


def _build(cls: type[Any], entry: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a mapping with exactly its keys; lists become tuples."""
    _expect_keys(entry, {field.name for field in fields(cls)}, where)
    try:
        return cls(**{key: _frozen(value) for key, value in entry.items()})
    except TypeError as error:
        missing = str(error).partition(":")[2].strip() or str(error)
        raise InputError(f"{where}: {missing} missing; expected it; add it") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _expect_keys(entry: Mapping[str, Any], allowed: set[str], where: str) -> None:
    for key in entry:
        _expect(key, allowed, f"{where}: key")


def _expect(value: str, allowed: Iterable[str], what: str) -> None:
    if value not in allowed:
        raise InputError(f"{what} {value!r}: expected one of {', '.join(sorted(allowed))}; correct it")


def _yaml(name: str) -> Any:
    return yaml.safe_load(_text(name))


def _text(name: str) -> str:
    # The data lie inside the installed package; in a checkout the folder stands beside it, as `datasets/`.
    package = Path(introbench.__file__).parent
    folder = package / "datasets" if (package / "datasets").is_dir() else package.parent / "datasets"
    return (folder / name).read_text(encoding="utf-8")
