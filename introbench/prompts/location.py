"""Conversations that ask where a thought was placed: passages, token spans, and options in balanced orders."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.chat import Messages, tokenize_chat
from introbench.prompts.conversation import Conversation, Turns, question_turns
from introbench.prompts.latin_squares import balanced_orders
from introbench.prompts.schema import LOCATION_PLACES, LocationPart
from introbench.prompts.token_spans import Stretch, message_starts, sentence_stretches, token_spans

LABELS = "ABCDE"
"""Labels of options."""

LEVELS = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Shares of the strength, by level."""

EXAMPLES_PER_LEVEL = 2
"""How many examples of each level the prior turn shows."""

PlacedSentences = list[tuple[int, Sequence[str]]]
"""The sentences in which a thought may be placed, by the index of the message that ends with them."""


def one_message(part: LocationPart, passage: str) -> tuple[Turns, PlacedSentences]:
    """A prior turn that shows a whole passage in one message, and the passage's sentences in it."""
    sentences = data.passages()[passage]
    content = f"{part.setting}\n\n{' '.join(sentences)}"
    reply = data.location_prompts().reply
    return ({"role": "user", "content": content}, {"role": "assistant", "content": reply}), [(0, sentences)]


def exchanges(part: LocationPart, passage: str, levels: Sequence[str]) -> tuple[Turns, PlacedSentences]:
    """A prior turn of examples, and the sentences in it.

    Each example is a sentence and a reply that names the level at which it is steered. A last sentence follows, whose
    level the reply does not name.

    Args:
        part: The part that asks for levels.
        passage: Name of the passage with which the sentences begin; they go on with those of the following passages.
        levels: The levels of the examples.
    """
    prompts, passages = data.location_prompts(), data.passages()
    names = [*passages]
    start = names.index(passage)
    sentences = [sentence for name in (*names[start:], *names[:start]) for sentence in passages[name]]
    replies = [*(prompts.level.format(name=part.options[level]) for level in levels), prompts.unnamed]
    turns: list[dict[str, str]] = []
    for number, reply in enumerate(replies):
        setting = f"{part.setting}\n\n" if number == 0 else ""
        turns += [
            {"role": "user", "content": f"{setting}{sentences[number]}"},
            {"role": "assistant", "content": reply},
        ]
    return tuple(turns), [(2 * number, sentences[number : number + 1]) for number in range(len(replies))]


def example_levels(passage: str, seed: int) -> list[str]:
    """The levels of a passage's examples: over three passages, each level stands at each place equally often."""
    names = [*LEVELS]
    orders = balanced_orders(len(names), EXAMPLES_PER_LEVEL, _rng(seed, "strength"))
    orders_of_passage = orders[[*data.passages()].index(passage) % len(names) :: len(names)]
    return [names[level] for order in orders_of_passage for level in order]


def sentence_spans(tokenizer: Any, messages: Messages, prior_messages: int, texts: PlacedSentences) -> list[Stretch]:
    """The token ranges of all sentences, which stand at the end of their messages.

    Args:
        tokenizer: The model's tokenizer.
        messages: The conversation.
        prior_messages: Number of leading messages that are the prior turn.
        texts: The sentences.

    Raises:
        InputError: See `introbench.prompts.token_spans.token_spans`.
    """
    chat = tokenize_chat(tokenizer, messages, prior_messages)
    starts = message_starts(chat, messages)
    stretches: list[Stretch] = []
    for message, sentences in texts:
        begin = starts[message] + len(messages[message]["content"]) - len(" ".join(sentences))
        stretches += sentence_stretches(sentences, begin)
    return token_spans(tokenizer, chat, stretches)


def location_conversations(
    part: LocationPart, passage: str, prior: Turns, replicates: int, seed: int
) -> Iterator[Conversation]:
    """Every question of a part with every order of the labels.

    Args:
        part: The part.
        passage: Name of the passage, for the conversations' ids and factors.
        prior: The prior turn.
        replicates: How often every option stands at each label.
        seed: Seed of the orders.
    """
    prompts = data.location_prompts()
    places = LOCATION_PLACES[part.name]
    labels = LABELS[: len(places)]
    orders = balanced_orders(len(places), replicates, _rng(seed, part.name))
    for number, order in enumerate(orders):
        by_label = {label: places[place] for label, place in zip(labels, order, strict=True)}
        lines = [prompts.option.format(label=label, name=part.options[place]) for label, place in by_label.items()]
        for kind, wordings in (("introspective", part.introspective), ("other", part.other)):
            for wording, question in wordings.items():
                user = prompts.user.format(options="\n".join(lines), question=question)
                yield Conversation(
                    id=f"{part.name}.{passage}.{wording}.order-{number:02d}",
                    messages=(*prior, *question_turns(user, prompts.assistant)),
                    prior_messages=len(prior),
                    answers=Answers.of({label: [f" {label}"] for label in labels}),
                    factors={
                        "part": part.name,
                        "passage": passage,
                        "kind": kind,
                        "wording": wording,
                        "order": number,
                        "options": by_label,
                        "expected": "the place of the arm",
                    },
                )


def _rng(seed: int, part: str) -> np.random.Generator:
    """A generator for one part, so that its orders do not depend on which other parts are run."""
    return np.random.default_rng([seed, [*LOCATION_PLACES].index(part)])
