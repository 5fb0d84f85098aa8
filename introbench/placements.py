"""Where a thought is placed: what is read meanwhile, which tokens and layers are steered, and what is asked about it.

Each part has some places, and an injection at every one of them: the same vector, the same tokens of question, and (but
for the strengths) the same amount of noise. Which place it was, only the model's state can tell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from introbench import data
from introbench.answers import Answers
from introbench.bank import Bank
from introbench.chat import Messages, tokenize_chat
from introbench.conversations import Conversation, Turns, checked
from introbench.data import LOCATION_PLACES, LocationPart
from introbench.errors import InputError
from introbench.injection import Injection, LayerRange, Span, Strength, VectorRecipe, sham
from introbench.orders import balanced_orders
from introbench.spans import Stretch, message_starts, sentence_stretches, token_spans

KINDS = ("concept", "random")
"""The vectors that are injected at each place: the concept's own, and a random rotation of it."""
LABELS = "ABCDE"
FAINTER = 0.5
"""Share of the strength that the fainter one of two sentences gets."""
LEVELS = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Shares of the strength."""
EXAMPLES_PER_LEVEL = 2
FEWEST_LAYERS = 4


@dataclass(frozen=True)
class Site:
    """Where and how strongly a vector is injected.

    Attributes:
        layers: Half-open range of decoder blocks.
        strength: Scale of the unit vectors.
        spans: The steered tokens and their shares of the strength.
    """

    layers: LayerRange
    strength: Strength
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Scene:
    """One part on one passage: what is read, and where a thought may be placed in it.

    Attributes:
        part: The part's name.
        passage: The passage's name.
        conversations: What is asked: every wording in every order of the labels.
        sites: By place.
    """

    part: str
    passage: str
    conversations: tuple[Conversation, ...]
    sites: Mapping[str, Site]

    def injections(self, vectors: Sequence[VectorRecipe], seed: int) -> tuple[Injection, ...]:
        """The batch, row by row: the sham; then, for each concept, its vector at every place and a random one there.

        Args:
            vectors: The concepts' vectors.
            seed: Of the random vectors.
        """
        return (
            sham(min(site.layers for site in self.sites.values())),
            *(
                Injection(vector, site.layers, site.strength, spans=site.spans)
                for own in vectors
                for vector in (own, replace(own, seed=seed))
                for site in self.sites.values()
            ),
        )

    def arms(self, concept: int) -> dict[str, int]:
        """Names of the arms of a trial about the n-th concept of a batch, and their rows."""
        first = 1 + concept * len(KINDS) * len(self.sites)
        names = [arm_name(kind, place) for kind in KINDS for place in self.sites]
        return {"sham": 0, **{name: first + row for row, name in enumerate(names)}}


def arm_name(kind: str, place: str) -> str:
    """What the arm is called that injects some vector at some place: `concept at first`."""
    return f"{kind} at {place}"


def early_and_late(n_layers: int) -> dict[str, LayerRange]:
    """Two ranges of blocks, of a third of the model each.

    Early begins at block 1, as control-vector files do: what block 0 gives is still the embedding, more or less. Late
    ends a sixth of the model before its last block: what is added to a block's output reaches the cache through the
    keys and values of later blocks only, so that the last blocks would leave no trace that a question could find.

    Raises:
        InputError: The model has too few layers.
    """
    if n_layers < FEWEST_LAYERS:
        raise InputError(
            f"parts=layers: the model has {n_layers} layers; expected {FEWEST_LAYERS} or more; choose other parts"
        )
    length, end = n_layers // 3, n_layers - max(1, n_layers // 6)
    return {"early": (1, 1 + length), "late": (end - length, end)}


def scene(
    tokenizer: Any,
    part: str,
    passage: str,
    *,
    bank: Bank,
    by_depth: Mapping[str, Bank],
    replicates: int,
    system: str | None,
) -> Scene:
    """One part on one passage.

    Args:
        tokenizer: The model's tokenizer; every conversation is checked with it.
        part: Name of the part.
        passage: Name of the passage.
        bank: Steered layers and strength; its seed is that of the orders.
        by_depth: The same for early and for late layers, for the part that compares them.
        replicates: How often every option stands at each label.
        system: Content of the system turn, or None for no system turn.

    Raises:
        InputError: The tokenizer or the chat template does not suit the experiment.
    """
    told = data.location_parts()[part]
    levels = _example_levels(passage, bank.seed) if part == "strength" else []
    prior, texts = _exchanges(told, passage, levels) if levels else _one_message(told, passage)
    if system is not None:
        prior = ({"role": "system", "content": system}, *prior)
        texts = [(turn + 1, sentences) for turn, sentences in texts]
    conversations = tuple(
        checked(tokenizer, each) for each in _conversations(told, passage, prior, replicates, bank.seed)
    )
    spans = _sentence_spans(tokenizer, conversations[0].messages, len(prior), texts)
    sites = {
        place: _site(by_depth.get(place, bank) if part == "layers" else bank, shares)
        for place, shares in _shares(part, spans, levels).items()
    }
    return Scene(part, passage, conversations, sites)


def _one_message(told: LocationPart, passage: str) -> tuple[Turns, list[tuple[int, Sequence[str]]]]:
    """A prior turn in which the passage is read at once; and in which of its messages which sentences stand."""
    sentences = data.passages()[passage]
    content = f"{told.setting}\n\n{' '.join(sentences)}"
    reply = data.location_prompts().reply
    return ({"role": "user", "content": content}, {"role": "assistant", "content": reply}), [(0, sentences)]


def _exchanges(
    told: LocationPart, passage: str, levels: Sequence[str]
) -> tuple[Turns, list[tuple[int, Sequence[str]]]]:
    """A prior turn of examples: a sentence, and the level at which it is steered; after the last sentence, no level."""
    prompts, passages = data.location_prompts(), data.passages()
    names = [*passages]
    start = names.index(passage)
    sentences = [sentence for name in (*names[start:], *names[:start]) for sentence in passages[name]]
    replies = [*(prompts.level.format(name=told.options[level]) for level in levels), prompts.unnamed]
    turns: list[dict[str, str]] = []
    for number, reply in enumerate(replies):
        setting = f"{told.setting}\n\n" if number == 0 else ""
        turns += [
            {"role": "user", "content": f"{setting}{sentences[number]}"},
            {"role": "assistant", "content": reply},
        ]
    return tuple(turns), [(2 * number, sentences[number : number + 1]) for number in range(len(replies))]


def _example_levels(passage: str, seed: int) -> list[str]:
    """The levels of a passage's examples: over three passages, each level stands at each place equally often."""
    names = [*LEVELS]
    orders = balanced_orders(len(names), EXAMPLES_PER_LEVEL, _rng(seed, "strength"))
    mine = orders[[*data.passages()].index(passage) % len(names) :: len(names)]
    return [names[level] for order in mine for level in order]


def _sentence_spans(
    tokenizer: Any, messages: Messages, prior_messages: int, texts: Sequence[tuple[int, Sequence[str]]]
) -> list[Stretch]:
    """The tokens of all sentences; those of a message stand at its end."""
    chat = tokenize_chat(tokenizer, messages, prior_messages)
    starts = message_starts(chat, messages)
    stretches: list[Stretch] = []
    for turn, sentences in texts:
        begin = starts[turn] + len(messages[turn]["content"]) - len(" ".join(sentences))
        stretches += sentence_stretches(sentences, begin)
    return token_spans(tokenizer, chat, stretches)


def _shares(part: str, spans: Sequence[Stretch], levels: Sequence[str]) -> dict[str, list[Span]]:
    """Which tokens are steered, and by how much, if the thought is at each of the places."""
    places = LOCATION_PLACES[part]
    begin, end = spans[0][0], spans[-1][1]
    if part == "halves":  # as many tokens each: the middle one of an odd number is in neither
        half = (end - begin) // 2
        return {"first": [(begin, begin + half, 1.0)], "second": [(end - half, end, 1.0)]}
    if part == "layers":
        return {place: [(begin, end, 1.0)] for place in places}
    if part == "stronger":
        two = {"second": spans[1], "fourth": spans[3]}
        return {place: [(*span, 1.0 if each == place else FAINTER) for each, span in two.items()] for place in places}
    if part == "strength":
        return {
            place: [(*span, LEVELS[level]) for span, level in zip(spans, (*levels, place), strict=True)]
            for place in places
        }
    return {place: [(*span, 1.0)] for place, span in zip(places, spans, strict=True)}


def _site(bank: Bank, shares: Sequence[Span]) -> Site:
    return Site(bank.layers, bank.strength, tuple(shares))


def _conversations(
    told: LocationPart, passage: str, prior: Turns, replicates: int, seed: int
) -> Iterator[Conversation]:
    """Every wording with every order of the labels."""
    prompts = data.location_prompts()
    places = LOCATION_PLACES[told.name]
    labels = LABELS[: len(places)]
    orders = balanced_orders(len(places), replicates, _rng(seed, told.name))
    for number, order in enumerate(orders):
        by_label = {label: places[place] for label, place in zip(labels, order, strict=True)}
        lines = [prompts.option.format(label=label, name=told.options[place]) for label, place in by_label.items()]
        for kind, wordings in (("introspective", told.introspective), ("other", told.other)):
            for wording, question in wordings.items():
                user = prompts.user.format(options="\n".join(lines), question=question)
                turns = ({"role": "user", "content": user}, {"role": "assistant", "content": prompts.assistant})
                yield Conversation(
                    id=f"{told.name}.{passage}.{wording}.order-{number:02d}",
                    messages=(*prior, *turns),
                    prior_messages=len(prior),
                    answers=Answers.of({label: [f" {label}"] for label in labels}),
                    factors={
                        "part": told.name,
                        "passage": passage,
                        "kind": kind,
                        "wording": wording,
                        "order": number,
                        "options": by_label,
                        "expected": "the place of the arm",
                    },
                )


def _rng(seed: int, part: str) -> np.random.Generator:
    """Randomness of a part's own, so that its orders do not depend on which other parts are run."""
    return np.random.default_rng([seed, [*LOCATION_PLACES].index(part)])
