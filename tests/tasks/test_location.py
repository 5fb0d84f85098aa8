"""Conversations of the location task: spans, and the balance of places and labels."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from introbench.errors import InputError
from introbench.prompts import data, schema
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.location import LEVELS
from introbench.steering.arms import ArmPlan
from introbench.steering.injection import Strength, VectorRecipe
from introbench.tasks.location import Scene, early_and_late, scene

PARTS = tuple(schema.LOCATION_PLACES)
CONCEPTS = ("cats", "bread", "love", "fear", "truth", "music")


def steered(layers: tuple[int, int] = (10, 20)) -> ArmPlan:
    vectors = tuple(VectorRecipe("pca_center", word) for word in CONCEPTS)
    return ArmPlan(vectors, layers, Strength(8.0), random_arms=0, seed=0)


def scene_of(tokenizer: Any, part: str, passage: str = "station", replicates: int = 1, seed: int = 0) -> Scene:
    return scene(
        tokenizer,
        part,
        passage,
        steering=replace(steered(), seed=seed),
        by_depth={place: steered(layers) for place, layers in early_and_late(30).items()},
        replicates=replicates,
        system="",
    )


def steered_texts(tokenizer: Any, placed: Scene) -> dict[str, list[tuple[str, float]]]:
    """What the steered tokens of each place say, with their shares."""
    first = placed.conversations[0]
    chat = tokenize_chat(tokenizer, first.messages, first.prior_messages)
    texts = {}
    for place, site in placed.sites.items():
        assert all(0 < begin < end < chat.prior for begin, end, _ in site.spans)
        texts[place] = [(tokenizer.decode(chat.tokens[begin:end]), share) for begin, end, share in site.spans]
    return texts


@pytest.mark.parametrize("passage", list(data.passages()))
def test_spans_are_exactly_the_sentences(tokenizer: Any, passage: str) -> None:
    sentences = data.passages()[passage]
    texts = steered_texts(tokenizer, scene_of(tokenizer, "sentences", passage))
    assert list(texts) == ["first", "second", "third", "fourth", "fifth"]
    # A space is one token with the word after it.
    assert [text for ((text, _),) in texts.values()] == [sentences[0], *(f" {sentence}" for sentence in sentences[1:])]
    sites = scene_of(tokenizer, "sentences", passage).sites
    tokens = [token for site in sites.values() for begin, end, _ in site.spans for token in range(begin, end)]
    assert len(tokens) == len(set(tokens)) == tokens[-1] + 1 - tokens[0], "disjoint, and nothing left out in between"
    lengths = [end - begin for site in sites.values() for begin, end, _ in site.spans]
    assert max(lengths) <= 1.4 * min(lengths), "sentences are about as long as each other"


@pytest.mark.parametrize("passage", list(data.passages()))
def test_halves_have_as_many_tokens_each(tokenizer: Any, passage: str) -> None:
    sites = scene_of(tokenizer, "halves", passage).sites
    ((begin, middle, _),), ((after, end, _),) = (site.spans for site in sites.values())
    assert middle - begin == end - after
    assert 0 <= after - middle <= 1
    passage_span = scene_of(tokenizer, "layers", passage).sites["early"].spans
    assert passage_span == ((begin, end, 1.0),)
    sentences = scene_of(tokenizer, "sentences", passage).sites
    assert (begin, end) == (sentences["first"].spans[0][0], sentences["fifth"].spans[0][1])


def test_layers_places_and_shares(tokenizer: Any) -> None:
    early, late = scene_of(tokenizer, "layers").sites.values()
    assert early.spans == late.spans
    assert (early.layers, late.layers) == ((1, 11), (15, 25))
    sentences = data.passages()["station"]
    second, fourth = f" {sentences[1]}", f" {sentences[3]}"
    assert steered_texts(tokenizer, scene_of(tokenizer, "stronger")) == {
        "second": [(second, 1.0), (fourth, 0.5)],
        "fourth": [(second, 0.5), (fourth, 1.0)],
    }
    assert {site.layers for site in scene_of(tokenizer, "stronger").sites.values()} == {(10, 20)}


@pytest.mark.parametrize("n_layers", range(4, 100))
def test_early_and_late_are_as_long_as_each_other_and_apart(n_layers: int) -> None:
    (a, b), (c, d) = early_and_late(n_layers).values()
    assert b - a == d - c >= 1
    assert 1 <= a < b <= c < d <= n_layers - 1
    assert b - a >= n_layers // 3


def test_the_strength_is_learned_from_examples_in_the_prior_turn(tokenizer: Any) -> None:
    firsts: dict[int, list[str]] = {}
    for passage in data.passages():
        placed = scene_of(tokenizer, "strength", passage)
        first = placed.conversations[0]
        prior = first.messages[: first.prior_messages]
        sentences = [m["content"].rpartition("\n\n")[2] for m in prior if m["role"] == "user"]
        named = [m["content"] for m in prior if m["role"] == "assistant"]
        assert len(sentences) == len(set(sentences)) == len(named) == 7
        assert named[-1] == data.location_prompts().unnamed
        levels = [name.removeprefix("Level: ") for name in named[:-1]]
        assert Counter(levels) == dict.fromkeys(LEVELS, 2)
        for place, texts in steered_texts(tokenizer, placed).items():
            assert [text for text, _ in texts] == sentences
            assert [share for _, share in texts] == [LEVELS[level] for level in (*levels, place)]
        for number, level in enumerate(levels):
            firsts.setdefault(number, []).append(level)
    assert all(sorted(levels) == sorted(LEVELS) for levels in firsts.values()), (
        "over passages, each level at each place"
    )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("replicates", [1, 2])
def test_each_option_stands_at_each_label_and_each_place_is_injected_equally_often(
    tokenizer: Any, part: str, replicates: int
) -> None:
    placed = scene_of(tokenizer, part, replicates=replicates)
    places = schema.LOCATION_PLACES[part]
    uses: Counter[tuple[str, str, str]] = Counter()
    for conversation in placed.conversations:
        for label, place in conversation.factors["options"].items():
            uses[conversation.factors["wording"], label, place] += 1
            line = f"\n{label}: {data.location_parts()[part].options[place]}\n"
            assert line in conversation.messages[-2]["content"]
    wordings = {c.factors["wording"]: c.factors["kind"] for c in placed.conversations}
    assert Counter(wordings.values()) == {"introspective": 2, "other": 2}
    labels = "ABCDE"[: len(places)]
    assert uses == {(w, label, place): replicates for w in wordings for label in labels for place in places}
    injections = placed.batch(steered().vectors, seed=7)
    assert injections[0].vector is None
    assert len(injections) == len(set(injections)) == 1 + 2 * len(CONCEPTS) * len(places)
    rows: list[int] = []
    for index, concept in enumerate(CONCEPTS):
        arms = placed.arms(index)
        assert list(arms) == ["sham", *(f"{kind} at {place}" for kind in ("concept", "random") for place in places)]
        for arm in list(arms.values())[1:]:
            kind, place, row = arm.kind, arm.place, arm.row
            recipe = VectorRecipe("pca_center", concept, seed=7 if kind == "random" else None)
            site = placed.sites[place]
            injection = injections[row]
            assert (injection.vector, injection.layers, injection.spans) == (recipe, site.layers, site.spans)
            rows.append(row)
    assert sorted(rows) == list(range(1, len(injections)))


def test_orders_depend_on_the_seed_alone(tokenizer: Any) -> None:
    def asked(seed: int) -> list[Any]:
        return [conversation.messages for conversation in scene_of(tokenizer, "sentences", seed=seed).conversations]

    assert asked(0) == asked(0)
    assert asked(0) != asked(1)


def test_what_is_asked_says_nothing_of_a_concept_and_stands_once() -> None:
    texts = [sentence for sentences in data.passages().values() for sentence in sentences]
    parts = data.location_parts().values()
    texts += [question for part in parts for question in (*part.introspective.values(), *part.other.values())]
    settings = [part.setting for part in parts]
    words = {word.strip(".,?:").lower() for text in (*texts, *settings) for word in text.split()}
    assert words.isdisjoint({*data.concepts(), "cat"})
    assert len(data.passages()) >= 2
    for part in parts:
        questions = [*part.introspective.values(), *part.other.values()]
        assert len(set(questions)) == len(questions)
        for question in part.other.values():
            assert not {"thought", "placed", "changed", "hidden"} & {word.strip(".,?") for word in question.split()}


def test_a_model_of_few_layers_has_no_early_and_late_ones() -> None:
    with pytest.raises(InputError, match="parts=layers: the model has 3 layers; expected 4 or more"):
        early_and_late(3)
