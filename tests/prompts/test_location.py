"""Prior turns in which a thought may be placed, and the questions about its place."""

import itertools
from collections import Counter

import pytest
from transformers import PreTrainedTokenizerFast

from introbench.prompts import data
from introbench.prompts.location import (
    LEVELS,
    example_levels,
    exchanges,
    location_conversations,
    one_message,
    sentence_spans,
)


def test_a_passage_is_shown_in_one_message(tokenizer: PreTrainedTokenizerFast) -> None:
    part = data.location_parts()["halves"]
    prior, texts = one_message(part, "station")
    ((message, sentences),) = texts
    assert sentences == data.passages()["station"]
    assert prior[message]["content"] == f"{part.setting}\n\n{' '.join(sentences)}"
    assert prior[-1] == {"role": "assistant", "content": data.location_prompts().reply}
    messages = [*prior, {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "It is"}]
    spans = sentence_spans(tokenizer, messages, len(prior), texts)
    assert len(spans) == len(sentences)
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(spans)), "no token in between"


def test_examples_name_their_levels_and_the_last_reply_does_not() -> None:
    part, prompts = data.location_parts()["strength"], data.location_prompts()
    prior, texts = exchanges(part, "valley", ["low", "high"])
    sentences = data.passages()["valley"]
    assert [turn["content"] for turn in prior] == [
        f"{part.setting}\n\n{sentences[0]}",
        prompts.level.format(name=part.options["low"]),
        sentences[1],
        prompts.level.format(name=part.options["high"]),
        sentences[2],
        prompts.unnamed,
    ]
    assert [(message, list(placed)) for message, placed in texts] == [
        (0, [sentences[0]]),
        (2, [sentences[1]]),
        (4, [sentences[2]]),
    ]


def test_sentences_go_on_with_those_of_the_next_passage() -> None:
    names = list(data.passages())
    _, texts = exchanges(data.location_parts()["strength"], names[-1], ["low"] * 6)
    shown = [sentence for _, sentences in texts for sentence in sentences]
    assert shown == [*data.passages()[names[-1]], *data.passages()[names[0]]][:7]


def test_every_level_is_shown_twice_and_depends_on_the_seed() -> None:
    for passage in data.passages():
        assert Counter(example_levels(passage, 0)) == dict.fromkeys(LEVELS, 2)
    assert any(example_levels("valley", 0) != example_levels("valley", seed) for seed in range(1, 5))


@pytest.mark.parametrize("name", list(data.location_parts()))
def test_options_are_balanced_over_labels_for_every_wording(name: str) -> None:
    part = data.location_parts()[name]
    prior, _ = one_message(part, "station")
    conversations = list(location_conversations(part, "station", prior, 2, 0))
    assert len({conversation.id for conversation in conversations}) == len(conversations)
    uses = Counter((c.factors["wording"], *pair) for c in conversations for pair in c.factors["options"].items())
    labels = "ABCDE"[: len(part.options)]
    wordings = [*part.introspective, *part.other]
    assert uses == {(wording, label, place): 2 for wording in wordings for label in labels for place in part.options}
    for conversation in conversations:
        assert conversation.messages[: len(prior)] == prior
        assert conversation.answers.names == tuple(labels)
        kind = "introspective" if conversation.factors["wording"] in part.introspective else "other"
        assert conversation.factors["kind"] == kind
