"""The entries of the files in `datasets/`: one frozen record for each kind of entry, and the names that it may use."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REFERENCE_DOCUMENT = "info"
"""The document that the headline result is about and that other documents are compared with."""

FAMILIES = ("introspection", "always_no", "always_yes", "ambiguous", "confusing")
"""Question families. All but the first consist of control questions."""

SALIENCE = "salience"
"""A further family: whether something in the text stands out. Its questions are neither introspective nor control
questions."""

FRAMINGS = ("accurate", "vague", "figurative")
"""How an introspection question puts what it asks: it says what happens, speaks of something odd or different, or uses
an image."""

EXPECTED = ("yes", "no", "either")
"""The right answers that a question may have when nothing was injected."""

LOCATION_PLACES = {
    "halves": ("first", "second"),
    "sentences": ("first", "second", "third", "fourth", "fifth"),
    "layers": ("early", "late"),
    "stronger": ("second", "fourth"),
    "strength": ("low", "medium", "high"),
}
"""The parts of the location experiment, and the places that each part tells apart; see `introbench.tasks.location`."""

SENTENCES = 5
"""Number of sentences of a passage."""

LONGEST_CONCEPT = 100
"""Most characters of a concept."""

_JOINERS = "\u200c\u200d"
"""Characters without a width of their own that scripts such as Persian and Hindi spell words with."""


def is_concept(text: str) -> bool:
    """Whether a text can be a concept: a name in any script, with any signs, that stands in one line."""
    # Of Unicode's categories, C is what controls, directs, or has no meaning; Zl and Zp end lines.
    return 0 < len(text.strip()) == len(text) <= LONGEST_CONCEPT and all(
        character in _JOINERS or (category[0] != "C" and category not in ("Zl", "Zp"))
        for character in text
        for category in [unicodedata.category(character)]
    )


def reference_document(documents: Sequence[str]) -> str:
    """The reference document among some documents: `REFERENCE_DOCUMENT`, or the first document if that is missing."""
    return REFERENCE_DOCUMENT if REFERENCE_DOCUMENT in documents else documents[0]


@dataclass(frozen=True)
class Question:
    """A yes/no question.

    Attributes:
        id: Short name, unique among all questions.
        family: One of `FAMILIES`, or `SALIENCE`.
        text: The question itself.
        expected: The right answer when nothing was injected: one of `EXPECTED`.
        formats: Names of the answer formats in which it is asked.
        reversed: Whether "no" is the answer that reports something noticed or salient.
        framing: How it puts what it asks: one of `FRAMINGS`; empty for other than introspection questions.
        reference_only: Whether it is asked under the reference document alone.
    """

    id: str
    family: str
    text: str
    expected: str
    formats: tuple[str, ...]
    reversed: bool = False
    framing: str = ""
    reference_only: bool = False


@dataclass(frozen=True)
class AnswerFormat:
    """How an answer is asked for and read.

    Attributes:
        name: Short name.
        kind: Name of the labels, which it shares with the format that swaps them: `one-zero` and `zero-one` are of
            the kind `digits`.
        instruction: Text that follows the question.
        prefill: Beginning of the assistant's answer.
        forms: Pairs of a yes form and the no form of the same shape; the first pair must be single tokens.
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
        location: Name of the location sentence that goes with it.
        text: The text itself, where it is given.
        same_text_as: Name of the document whose text it shares.
        length_of: Name of the document whose length in tokens it is fitted to.
        words: Words from which a text of that length is drawn at random.
        sentences: Sentences that are taken in order up to that length.
        fillers: Short sentences that make up the remaining tokens.
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
        setting: Description of the experiment, for the model.
        location: Sentences that say where a thought is placed, by name.
        reply: The assistant's prefilled reply.
    """

    setting: str
    location: Mapping[str, str]
    reply: str


@dataclass(frozen=True)
class ListQuestion:
    """The texts of the question that lists concepts to pick from.

    Attributes:
        user: The question, with the placeholder `{options}`.
        assistant: The prefill of the answer, which a label follows.
        option: A line of the list, with the placeholders `{label}` and `{name}`.
        nothing: Name of the option that says that nothing was injected.
    """

    user: str
    assistant: str
    option: str
    nothing: str


@dataclass(frozen=True)
class NamingQuestion:
    """A question whose prefilled answer is completed by the name of a concept.

    Attributes:
        id: Short name.
        user: The question.
        assistant: The prefill of the answer.
    """

    id: str
    user: str
    assistant: str


@dataclass(frozen=True)
class LocationPrompts:
    """The texts of the questions on where a thought was placed.

    Attributes:
        user: The user's turn, with the placeholders `{options}` and `{question}`.
        assistant: The prefill of the answer, which a label follows.
        option: A line of the options, with the placeholders `{label}` and `{name}`.
        reply: The assistant's reply to the text in which a thought is placed.
        level: Its reply to an example, with the placeholder `{name}` for the example's level.
        unnamed: Its reply to the text whose level is asked about.
    """

    user: str
    assistant: str
    option: str
    reply: str
    level: str
    unnamed: str


@dataclass(frozen=True)
class LocationPart:
    """One part of the location experiment: where, or how strongly, a thought was placed.

    Attributes:
        name: Short name; one of `LOCATION_PLACES`.
        setting: Description of the experiment, for the model's first turn.
        options: Wording of the option for each place, by place.
        introspective: Questions that only the model's state can answer, by name.
        other: Questions about something else with the same options, by name.
    """

    name: str
    setting: str
    options: Mapping[str, str]
    introspective: Mapping[str, str]
    other: Mapping[str, str]


@dataclass(frozen=True)
class SampledPrompts:
    """What a trial says whose answer is sampled, and what is injected.

    Attributes:
        setting: The first message: that a thought may be injected.
        reply: The assistant's reply to it.
        question: What a trial asks.
        forced: What an answer begins with that is made to claim that a thought is detected.
        concepts: Words to inject by default.
    """

    setting: str
    reply: str
    question: str
    forced: str
    concepts: tuple[str, ...]


@dataclass(frozen=True)
class TeachingTexts:
    """Texts on which a model is taught to report injections; see `introbench.validation.taught`.

    Attributes:
        concepts: Words to inject.
        settings: Descriptions of the experiment, for the model's first turn.
        documents: Texts that may follow the description.
        replies: The assistant's prefilled replies.
        introspection: Questions whose "yes" reports that something was noticed.
        reversed: Questions whose "no" reports that something was noticed.
        controls: Control questions, whose answers are not to change.
        about_itself: Control questions about the model and its life.
        salience: Questions on whether something in the text stands out, whose answers are not to change.
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


GRADE_LABELS = ("coherent", "claims", "names", "claims_first", "refused")
"""What is said of a sampled answer: the attributes of `introbench.analysis.grading.Grade`."""


@dataclass(frozen=True)
class GradedTranscript:
    """A sampled answer that was labelled by hand; see `introbench.validation.graded_transcripts`.

    Attributes:
        id: Its number in the file, from 1.
        source: `smollm2` (the embedded model), `taught` (a model that was taught to report) or `written`.
        concept: The concept that is looked for.
        labels: Those of `GRADE_LABELS` that are true of it.
        text: The answer.
    """

    id: int
    source: str
    concept: str
    labels: tuple[str, ...]
    text: str
