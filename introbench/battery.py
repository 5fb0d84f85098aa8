"""The trials of the introspection experiment: documents x questions x formats x concepts, and the arms of each."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from introbench import data
from introbench.chat import answer_token, tokenize_chat
from introbench.documents import fitted_texts
from introbench.errors import InputError
from introbench.injection import Injection, LayerRange, VectorRecipe, sham

CONCEPTS_PER_BANK = 12
"""How many concepts share a batch with their random vectors: at most 25 rows."""


@dataclass(frozen=True)
class Bank:
    """The arms that share a batch: the sham, some concepts, and as many random vectors.

    A trial uses the sham, one concept and a few of the random vectors, but the engine always runs the whole bank in
    one batch of fixed order. So a trial's arms stand side by side in one forward pass, and its numbers do not depend
    on which other trials happen to be in flight.

    Concept i uses random vectors i, i+1, ... (cyclically). Each is then used equally often, and there are as many
    independent random vectors as concepts for the contrast between the two.

    Attributes:
        concepts: The concepts' words.
        method: Extraction method.
        layers: Half-open range of steered blocks.
        strength: Scale of the unit vectors.
        relative: Whether `strength` is a share of the model's residual norm.
        random_arms: Random vectors per trial.
        seed: Seed of the random vectors.
    """

    concepts: tuple[str, ...]
    method: str
    layers: LayerRange
    strength: float
    relative: bool
    random_arms: int
    seed: int

    @cached_property
    def injections(self) -> tuple[Injection, ...]:
        """The batch, row by row: sham, concepts, random vectors."""
        own = [self._injection(VectorRecipe(self.method, concept)) for concept in self.concepts]
        rotated = [
            self._injection(VectorRecipe(self.method, concept, seed=self.seed, draw=index // len(self.concepts)))
            for index, concept in enumerate(self._random_owners)
        ]
        return (sham(self.layers), *own, *rotated)

    def arms(self, concept: str) -> dict[str, int]:
        """Names of a trial's arms, and their rows in the batch."""
        index = self.concepts.index(concept)
        first_random = 1 + len(self.concepts)
        pool = len(self._random_owners)
        return {"sham": 0, "concept": 1 + index} | {
            f"random {k + 1}": first_random + (index + k) % pool for k in range(self.random_arms)
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"concepts": list(self.concepts), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Bank":
        """Rebuild a bank from `to_json`'s values."""
        start, stop = values["layers"]
        return cls(**{**values, "concepts": tuple(values["concepts"]), "layers": (start, stop)})

    @property
    def _random_owners(self) -> list[str]:
        """Whose vector each random vector is a rotation of."""
        if self.random_arms == 0:
            return []
        size = max(len(self.concepts), self.random_arms)
        return [self.concepts[index % len(self.concepts)] for index in range(size)]

    def _injection(self, vector: VectorRecipe) -> Injection:
        return Injection(vector, self.layers, self.strength, self.relative)


def split_into_banks(whole: Bank) -> list[Bank]:
    """Cut a long list of concepts into banks that fit a batch."""
    words = whole.concepts
    return [
        replace(whole, concepts=words[start : start + CONCEPTS_PER_BANK])
        for start in range(0, len(words), CONCEPTS_PER_BANK)
    ]


@dataclass(frozen=True)
class Trial:
    """One question about one concept under one document.

    Attributes:
        document: Name of the document in the first turn.
        concept: The injected concept.
        question: What is asked.
        answer_format: How the answer is asked for and read.
        messages: The conversation; the last message is the assistant's prefill.
        bank: Index of the bank that holds the concept.
    """

    document: str
    concept: str
    question: data.Question
    answer_format: data.AnswerFormat
    messages: tuple[dict[str, str], ...]
    bank: int

    @property
    def id(self) -> str:
        """Readable and unique: `info.detect.yes-no.cats`."""
        return ".".join((self.document, self.question.id, self.answer_format.name, self.concept.replace(" ", "_")))

    @property
    def prior_messages(self) -> int:
        """How many leading messages are the prior turn."""
        return len(self.messages) - 2


def make_trials(
    tokenizer: Any,
    *,
    banks: Sequence[Bank],
    documents: Sequence[str],
    families: Sequence[str],
    formats: Sequence[str],
    system: str | None,
) -> Iterator[Trial]:
    """Make every trial of a battery, in the order that lets an engine reuse most: by document, bank and question.

    Args:
        tokenizer: The model's tokenizer; documents are fitted to it, and every conversation is checked with it.
        banks: The concepts.
        documents: Names of documents.
        families: Names of question families.
        formats: Names of answer formats.
        system: Content of the system turn, or None for no system turn.

    Raises:
        InputError: The chat template or an answer form does not suit the experiment.
    """
    texts = fitted_texts(data.documents(), tokenizer)
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
    for document in documents:
        opening = first_turn(texts[document], data.documents()[document].location, system)
        for number, bank in enumerate(banks):
            for question, answer_format in asked:
                messages = (
                    *opening,
                    {"role": "user", "content": f"{question.text} {answer_format.instruction}"},
                    {"role": "assistant", "content": answer_format.prefill},
                )
                check_conversation(tokenizer, messages, answer_format)
                for concept in bank.concepts:
                    yield Trial(document, concept, question, answer_format, messages, number)


def distinct_questions(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """What is asked after the prior turns, each once, as `inject_prior_turn` takes it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for trial in trials:
        user, assistant = (message["content"] for message in trial.messages[-2:])
        forms = [list(pair) for pair in trial.answer_format.forms]
        found[user, assistant] = {"user": user, "assistant": assistant, "forms": forms}
    return list(found.values())


def first_turn(document_text: str, location: str, system: str | None) -> tuple[dict[str, str], ...]:
    """The prior turn: system (unless None), setting with document and location sentence, and the short reply."""
    told = data.setting()
    parts = [told.setting.strip(), document_text.strip(), told.location[location].strip()]
    turns = [
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
        {"role": "assistant", "content": told.reply},
    ]
    return tuple(turns if system is None else [{"role": "system", "content": system}, *turns])


def check_conversation(tokenizer: Any, messages: Sequence[dict[str, str]], answer_format: data.AnswerFormat) -> None:
    """Refuse a conversation that the model's template or tokenizer would not carry as it is written.

    Raises:
        InputError: See `introbench.chat.tokenize_chat`; or one of the first pair of forms is not one token.
    """
    chat = tokenize_chat(tokenizer, messages, len(messages) - 2)
    tokens = [answer_token(tokenizer, chat, form) for form in answer_format.forms[0]]
    for form, token in zip(answer_format.forms[0], tokens, strict=True):
        if token is None:
            raise InputError(
                f"answer form {form!r} of format {answer_format.name}: is not one token after "
                f"{answer_format.prefill!r} for this tokenizer; expected one; choose another, e.g. -T formats=yes-no"
            )
    if tokens[0] == tokens[1]:
        raise InputError(
            f"answer forms {answer_format.forms[0]!r} of format {answer_format.name}: are the same token for this "
            f"tokenizer; expected two; choose another format, e.g. -T formats=yes-no"
        )


def parse_concepts(value: object) -> tuple[str, ...]:
    """Read a list of concepts: any words, with a guard against slips in the well-known ones.

    `new:` before a word turns the guard off: `new:cat` is a concept of its own.

    Raises:
        InputError: No concept, one that is not a word, one that stands twice, or a slip in a published one.
    """
    if value is None:
        return data.concepts()
    words = []
    for item in [value] if isinstance(value, str) else _as_list(value):
        word = str(item).strip().removeprefix("new:").strip()
        is_word = word and all(part.isalpha() for part in word.replace("-", " ").replace("'", " ").split())
        if not is_word or isinstance(item, bool):
            raise InputError(f"concept {item!r}: expected words; pass e.g. -T concepts=cats,volcanoes")
        meant = None if str(item).strip().startswith("new:") else _slip(word)
        if meant:
            raise InputError(
                f"concept {word!r}: unknown, and nearly {meant!r}; pass -T concepts={meant}, or new:{word} to mean it "
                f"(published: {', '.join(data.concepts())}; any other word is a new concept)"
            )
        words.append(word)
    if not words or len(set(words)) != len(words):
        raise InputError(f"concepts={words!r}: expected at least one, each once; pass e.g. -T concepts=cats,bread")
    return tuple(words)


def _slip(word: str) -> str | None:
    """The published concept that a word is a misspelling, another case or another number of."""
    if word in data.concepts():
        return None
    for concept in data.concepts():
        if word.lower().removesuffix("s") == concept.removesuffix("s"):
            return concept
    return next(iter(difflib.get_close_matches(word.lower(), data.concepts(), n=1, cutoff=0.9)), None)


def choose(value: object, options: Iterable[str], what: str) -> tuple[str, ...]:
    """Read a choice among named options; None means all of them.

    Raises:
        InputError: A name is not among the options, or none is left.
    """
    known = tuple(options)
    names = (
        known
        if value is None
        else tuple(str(item) for item in ([value] if isinstance(value, str) else _as_list(value)))
    )
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "choose from these"
            raise InputError(f"{what}={name!r}: expected one of {', '.join(known)}; {hint}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"{what}={list(names)!r}: expected at least one of {', '.join(known)}, each once; correct it")
    return names


def parse_count(value: object, what: str, most: int) -> int:
    """Read a whole number.

    Raises:
        InputError: It is not a whole number from 0 to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InputError(f"{what}={value!r}: expected a whole number from 0 to {most}; pass e.g. -T {what}=3")
    return value


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) else [value]
