"""Read the prompts, questions and word lists in `datasets/`, and refuse malformed files."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import introbench
from introbench.errors import InputError, shown
from introbench.prompts.schema import (
    EXPECTED,
    FAMILIES,
    FRAMINGS,
    GRADE_LABELS,
    LOCATION_PLACES,
    SALIENCE,
    SENTENCES,
    AnswerFormat,
    Document,
    GradedTranscript,
    ListQuestion,
    LocationPart,
    LocationPrompts,
    NamingQuestion,
    Question,
    SampledPrompts,
    Setting,
    TeachingTexts,
)

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, ten times as fast, where PyYAML was built with it."""


@cache
def concepts() -> tuple[str, ...]:
    """The concepts that published work injects."""
    return tuple(_yaml("concepts.yaml"))


@cache
def openings() -> tuple[str, ...]:
    """Beginnings of replies, on which vectors are extracted."""
    return tuple(_text("openings.txt").splitlines())


@cache
def setting() -> Setting:
    """The texts of the first turn, without its document."""
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
def answer_kinds() -> tuple[str, ...]:
    """The kinds of answers, in the order of the formats."""
    return tuple(dict.fromkeys(answer_format.kind for answer_format in answer_formats().values()))


@cache
def list_question() -> ListQuestion:
    """The question that lists concepts to pick from."""
    return _build(ListQuestion, _yaml("identification.yaml")["list"], "identification.yaml: list")


@cache
def naming_questions() -> tuple[NamingQuestion, ...]:
    """The questions whose prefilled answer is completed by a concept's name."""
    entries = _yaml("identification.yaml")["naming"]
    return tuple(_build(NamingQuestion, entry, f"identification.yaml: naming: {entry.get('id')}") for entry in entries)


@cache
def top_of_mind() -> tuple[dict[str, str], ...]:
    """The messages of the chat that is continued under steering."""
    entry = _yaml("top_of_mind.yaml")
    return tuple({"role": role, "content": entry[role]} for role in ("user", "assistant"))


def carriers(system: str | None) -> list[tuple[tuple[dict[str, str], ...], int]]:
    """Neutral conversations on which doses are measured, each with the number of messages of its prior turn.

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
    """Chats in which the assistant steers toward a concept: every prompt with every reply."""
    entries = _yaml("finetune.yaml")
    return [
        {"prompt": prompt, "reply": reply.format(concept=concept)}
        for prompt in entries["prompts"]
        for reply in entries["replies"]
    ]


@cache
def sampled_detection() -> SampledPrompts:
    """The texts of trials whose answers are sampled, and the concepts that are injected there by default."""
    return _build(SampledPrompts, _yaml("sampled_detection.yaml"), "sampled_detection.yaml")


@cache
def baseline_words() -> tuple[str, ...]:
    """The words whose mean the `tell_me_about` vectors are differences from."""
    return tuple(_text("baseline_words.txt").splitlines())


@cache
def teaching_texts() -> TeachingTexts:
    """Texts on which a model is taught to report injections."""
    return _build(TeachingTexts, _yaml("taught.yaml"), "taught.yaml")


@cache
def published_results() -> dict[str, Any]:
    """Published probabilities: their `source`, the `model`, and `results` by document and injection, in percent."""
    return dict(_yaml("published_results.yaml"))


@cache
def concept_words() -> dict[str, tuple[str, ...]]:
    """Words that count as mentions of a concept, for each of the published concepts."""
    return {concept: tuple(words) for concept, words in _yaml("concept_words.yaml").items()}


@cache
def graded_transcripts() -> tuple[GradedTranscript, ...]:
    """Sampled answers with labels by hand."""
    name = "graded_transcripts.yaml"
    transcripts = tuple(_build(GradedTranscript, entry, f"{name}: {entry.get('id')}") for entry in _yaml(name))
    for transcript in transcripts:
        for label in transcript.labels:
            _expect(label, GRADE_LABELS, f"{name}: {transcript.id}: label")
    return transcripts


@cache
def location_prompts() -> LocationPrompts:
    """The texts of the questions on where a thought was placed."""
    return _build(LocationPrompts, _yaml("location.yaml")["prompts"], "location.yaml: prompts")


@cache
def passages() -> dict[str, tuple[str, ...]]:
    """Neutral texts by name, each as its sentences."""
    return parse_passages(_yaml("location.yaml")["passages"], "location.yaml")


@cache
def location_parts() -> dict[str, LocationPart]:
    """The parts of the location experiment, by name."""
    return parse_location_parts(_yaml("location.yaml")["parts"], "location.yaml")


@cache
def questions() -> tuple[Question, ...]:
    """All questions."""
    return parse_questions(_yaml("questions.yaml"), "questions.yaml")


def chatml() -> str:
    """A chat template that renders every turn alike, whatever follows it."""
    return _text("chatml.jinja")


@cache
def known_settings(model_name: str) -> Mapping[str, Any]:
    """Layers and strength that suit a model, looked up by the last part of its name; empty for an unknown model."""
    return _yaml("models.yaml").get(model_name.rstrip("/").rsplit("/", 1)[-1], {})


def parse_questions(entries: Mapping[str, Any], where: str) -> tuple[Question, ...]:
    """The questions of a file, checked.

    Args:
        entries: For each family a mapping with `formats`, `questions` and perhaps `reference_only`.
        where: Name of the file, for errors.

    Raises:
        InputError: A family, key, format, framing or expected answer is unknown, or an id or text stands twice.
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
            framings = FRAMINGS if family == "introspection" else ("",)
            _expect(question.framing, framings, f"{where}: {question.id}: framing")
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
    """The passages of a file, checked.

    Args:
        entries: For each passage the list of its sentences.
        where: Name of the file, for errors.

    Raises:
        InputError: A passage does not have five sentences, or a sentence stands twice.
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
    """The parts of the location experiment in a file, checked.

    Args:
        entries: For each part the fields of a `LocationPart`.
        where: Name of the file, for errors.

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
    """Make a dataclass from a mapping whose keys are its fields; lists become tuples."""
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
        raise InputError(f"{what} {shown(value)}: expected one of {', '.join(sorted(allowed))}; correct it")


def _yaml(name: str) -> Any:
    return yaml.load(_text(name), _LOADER)


def _text(name: str) -> str:
    # An installed package contains the files; in a checkout, `datasets/` is a folder beside the package.
    package = Path(introbench.__file__).parent
    folder = package / "datasets" if (package / "datasets").is_dir() else package.parent / "datasets"
    return (folder / name).read_text(encoding="utf-8")
