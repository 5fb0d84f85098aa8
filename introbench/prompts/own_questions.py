"""A user's own questions, documents and concepts: a YAML file, checked before anything is run.

Its families have the schema of `datasets/questions.yaml`. A family of the file takes the place of ours of that name,
and all other families stay.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from introbench.errors import InputError, first_line, shown
from introbench.prompts import data
from introbench.prompts.schema import FAMILIES, FRAMINGS, SALIENCE, Document, Question, is_concept

LARGEST_FILE = 10_000_000
"""Bytes that a file may have."""

_Name = Annotated[str, StringConstraints(pattern=r"^[\w-]{1,60}$")]
_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_Path = tuple[int | str, ...]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Question(_Entry):
    id: _Name
    text: _Text
    expected: Literal["yes", "no", "either"]
    reversed: bool = False
    framing: Literal["accurate", "vague", "figurative"] | None = None


class _Family(_Entry):
    questions: list[_Question]
    formats: list[str] | None = None


class _Document(_Entry):
    text: str
    location: Literal["accurate", "inaccurate"] = "accurate"


class _File(_Entry):
    introspection: _Family | None = None
    always_no: _Family | None = None
    always_yes: _Family | None = None
    ambiguous: _Family | None = None
    confusing: _Family | None = None
    salience: _Family | None = None
    documents: dict[_Name, _Document] = {}
    concepts: list[str] = []


@dataclass(frozen=True)
class OwnQuestions:
    """What a file says, together with what stays of ours.

    Attributes:
        name: Name of the file.
        digest: SHA-256 of the file.
        questions: All questions.
        documents: All documents, by name.
        concepts: The file's concepts; none if it names none.
        families: The families that are the file's.
    """

    name: str
    digest: str
    questions: tuple[Question, ...]
    documents: Mapping[str, Document]
    concepts: tuple[str, ...]
    families: tuple[str, ...]

    def concepts_unless(self, named: Any, vectors: str | None) -> Any:
        """The file's concepts, unless the user has named concepts or files of vectors, or the file has none."""
        return named if named is not None or vectors is not None or not self.concepts else list(self.concepts)

    @property
    def facts(self) -> dict[str, Any]:
        """What a log says of the file."""
        return {"questions_file": self.name, "questions_digest": self.digest, "questions_families": list(self.families)}


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """YAML in which `yes` and `no` are words, and `true` and `false` alone are truth values."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def read_own_questions(path: Path) -> OwnQuestions:
    """Read a file of a user's own questions.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be read, is no YAML, or has an error; the message names the line and the key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(
            f"questions={shown(str(path))}: {error.strerror}; expected a readable YAML file; correct the path"
        ) from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"questions={shown(str(path))}: over {LARGEST_FILE} bytes; expected a file of questions")
    source = _Source(path.name, content)
    try:
        parsed = _File.model_validate(source.values)
    except ValidationError as errors:
        raise source.error_of(errors.errors()) from None
    families = {name: family for name in (*FAMILIES, SALIENCE) if (family := getattr(parsed, name)) is not None}
    if not families and not parsed.documents:
        source.refuse((), "has neither questions nor documents", "a question family, such as introspection")
    ours = [question for question in data.questions() if question.family not in families]
    own = [question for name, family in families.items() for question in _questions(source, name, family, ours)]
    documents = dict(data.documents())
    for name, document in parsed.documents.items():
        if name in documents:
            source.refuse(("documents", name), f"document {shown(name)} is one of ours", "another name")
        documents[name] = Document(name, document.location, document.text)
    for number, concept in enumerate(parsed.concepts):
        if not is_concept(concept) or concept in parsed.concepts[:number]:
            source.refuse(("concepts", number), f"concept {shown(concept)}", "a name in one line, each once")
    return OwnQuestions(
        path.name,
        hashlib.sha256(content).hexdigest(),
        (*own, *ours),
        documents,
        tuple(parsed.concepts),
        tuple(families),
    )


_EXPECTED = {
    "string_pattern_mismatch": "letters, digits, - and _, at most 60",
    "string_too_short": "some text",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What pydantic expects, by the type of its error."""


class _Source:
    """A file's values, and where in it they stand."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        try:
            loader = _Loader(content.decode("utf-8-sig"))
            node = loader.get_single_node()
            self.values = None if node is None else loader.construct_document(node)
            self._lines = {} if node is None else dict(_lines(node, (), set()))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}: byte {error.start} is no UTF-8; expected a text file in UTF-8; save it so"
            ) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line if mark else 0, first_line(error.problem or error), "YAML") from None
        except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
            raise InputError(f"{name}: {first_line(error)}; expected YAML; correct it") from None

    def refuse(self, place: _Path, found: str, expected: str) -> NoReturn:
        """Refuse what stands at a place of the file.

        Raises:
            InputError: Always; it names the line.
        """
        raise self._error(self._line(place), found, expected)

    def error_of(self, errors: Sequence[ErrorDetails]) -> InputError:
        """What pydantic found first, with its line and key; a key that is not known before one that is missing."""
        details = min(errors, key=lambda each: each["type"] != "extra_forbidden")
        place = tuple(part for part in details["loc"] if part != "[key]")
        kind, key = details["type"], str(place[-1]) if place else ""
        if place and isinstance(place[-1], int):
            key = f"entry {place[-1] + 1}"
        if kind == "extra_forbidden":
            known = _keys_at(place)
            return self._error(self._line(place), f"key {shown(key)}", f"one of {', '.join(known)}")
        if kind == "missing":
            return self._error(self._line(place[:-1]), f"no key {shown(key)}", "it beside the other keys")
        if not place:
            return self._error(0, "no mapping", "question families, such as introspection:")
        expected = _EXPECTED.get(kind) or details["msg"].removeprefix("Input should be ")
        return self._error(self._line(place), f"{key}: {shown(details['input'])}", expected)

    def _line(self, place: _Path) -> int:
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)

    def _error(self, line: int, found: str, expected: str) -> InputError:
        return InputError(f"{self._name}, line {line + 1}: {found}; expected {expected}; correct it")


def _questions(source: _Source, name: str, family: _Family, ours: Sequence[Question]) -> Iterator[Question]:
    """The questions of one of the file's families.

    Args:
        source: The file.
        name: The family.
        family: What the file says of it.
        ours: The questions that stay, whose ids and texts are taken.
    """
    known = [*data.answer_formats()]
    for number, answer_format in enumerate(family.formats or ()):
        if answer_format not in known:
            source.refuse((name, "formats", number), f"format {shown(answer_format)}", f"one of {', '.join(known)}")
    formats = tuple(family.formats or (known if name != SALIENCE else known[:1]))
    if not family.questions:
        source.refuse((name, "questions"), "no question", "at least one")
    taken = {value.casefold() for question in ours for value in (question.id, question.text)}
    for number, entry in enumerate(family.questions):
        place: _Path = (name, "questions", number)
        for key in ("id", "text"):
            value = getattr(entry, key)
            if value.casefold() in taken:
                source.refuse((*place, key), f"{key} {shown(value)} stands twice", "it once, also beside our questions")
            taken.add(value.casefold())
        if entry.framing is not None and name != FAMILIES[0]:
            source.refuse((*place, "framing"), f"framing of a question of {name}", "it for introspection questions")
        yield Question(
            id=entry.id,
            family=name,
            text=entry.text,
            expected=entry.expected,
            formats=formats,
            reversed=entry.reversed,
            framing=(entry.framing or FRAMINGS[0]) if name == FAMILIES[0] else "",
            reference_only=name == SALIENCE,
        )


def _keys_at(place: _Path) -> list[str]:
    """The keys that may stand where another one was found."""
    if len(place) == 1:
        return [*_File.model_fields]
    model = _Document if place[0] == "documents" else _Question if "questions" in place[:-1] else _Family
    return [*model.model_fields]


def _lines(node: yaml.Node, place: _Path, seen: set[int]) -> Iterator[tuple[_Path, int]]:
    """The line, counted from 0, of every key and list entry, by its path; what an alias repeats is passed over."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (*place, key.value), key.start_mark.line
                yield from _lines(value, (*place, key.value), seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, number), value.start_mark.line
            yield from _lines(value, (*place, number), seen)
