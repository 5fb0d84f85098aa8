"""What the files in `datasets/` hold: one frozen record per kind of entry, and the names that they may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REFERENCE_DOCUMENT = "info"


def reference_document(documents: Sequence[str]) -> str:
    """The document that others are compared with and that the headline is about: info, or the first one without it."""
    return REFERENCE_DOCUMENT if REFERENCE_DOCUMENT in documents else documents[0]


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
"""The ways to ask where a thought was placed, and the places of each; see `introbench.tasks.location`."""

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
