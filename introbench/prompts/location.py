"""Conversations that ask where a thought was placed: passages, spans of tokens, labels in balanced orders."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from introbench.prompts import data
from introbench.prompts.answers import Answers
from introbench.prompts.chat import Messages, tokenize_chat
from introbench.prompts.conversation import Conversation, Turns
from introbench.prompts.latin_squares import balanced_orders
from introbench.prompts.schema import LOCATION_PLACES, LocationPart
from introbench.prompts.token_spans import Stretch, message_starts, sentence_stretches, token_spans

LABELS = "ABCDE"

LEVELS = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Shares of the strength."""

EXAMPLES_PER_LEVEL = 2


def one_message(told: LocationPart, passage: str) -> tuple[Turns, list[tuple[int, Sequence[str]]]]:
    """A prior turn in which the passage is read at once; and in which of its messages which sentences stand."""
    sentences = data.passages()[passage]
    content = f"{told.setting}\n\n{' '.join(sentences)}"
    reply = data.location_prompts().reply
    return ({"role": "user", "content": content}, {"role": "assistant", "content": reply}), [(0, sentences)]


def exchanges(told: LocationPart, passage: str, levels: Sequence[str]) -> tuple[Turns, list[tuple[int, Sequence[str]]]]:
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


def example_levels(passage: str, seed: int) -> list[str]:
    """The levels of a passage's examples: over three passages, each level stands at each place equally often."""
    names = [*LEVELS]
    orders = balanced_orders(len(names), EXAMPLES_PER_LEVEL, _rng(seed, "strength"))
    mine = orders[[*data.passages()].index(passage) % len(names) :: len(names)]
    return [names[level] for order in mine for level in order]


def sentence_spans(
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


def location_conversations(
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
