"""Where a thought was placed: spans, balance of places and labels, scores and contrasts."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from introbench.analysis.location import CONTRASTS, LocationResult, LocationTrial, location_results, mean_scores, placed
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


def steered_texts(tokenizer: Any, each: Scene) -> dict[str, list[tuple[str, float]]]:
    """What the steered tokens of each place say, with their shares."""
    first = each.conversations[0]
    chat = tokenize_chat(tokenizer, first.messages, first.prior_messages)
    texts = {}
    for place, site in each.sites.items():
        assert all(0 < begin < end < chat.prior for begin, end, _ in site.spans)
        texts[place] = [(tokenizer.decode(chat.tokens[begin:end]), share) for begin, end, share in site.spans]
    return texts


@pytest.mark.parametrize("passage", list(data.passages()))
def test_spans_are_exactly_the_sentences(tokenizer: Any, passage: str) -> None:
    sentences = data.passages()[passage]
    found = steered_texts(tokenizer, scene_of(tokenizer, "sentences", passage))
    assert list(found) == ["first", "second", "third", "fourth", "fifth"]
    # A space is one token with the word after it.
    assert [text for ((text, _),) in found.values()] == [sentences[0], *(f" {each}" for each in sentences[1:])]
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
    whole = scene_of(tokenizer, "layers", passage).sites["early"].spans
    assert whole == ((begin, end, 1.0),)
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
        each = scene_of(tokenizer, "strength", passage)
        first = each.conversations[0]
        prior = first.messages[: first.prior_messages]
        sentences = [m["content"].rpartition("\n\n")[2] for m in prior if m["role"] == "user"]
        named = [m["content"] for m in prior if m["role"] == "assistant"]
        assert len(sentences) == len(set(sentences)) == len(named) == 7
        assert named[-1] == data.location_prompts().unnamed
        levels = [name.removeprefix("Level: ") for name in named[:-1]]
        assert Counter(levels) == dict.fromkeys(LEVELS, 2)
        for place, found in steered_texts(tokenizer, each).items():
            assert [text for text, _ in found] == sentences
            assert [share for _, share in found] == [LEVELS[level] for level in (*levels, place)]
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
    each = scene_of(tokenizer, part, replicates=replicates)
    places = schema.LOCATION_PLACES[part]
    uses: Counter[tuple[str, str, str]] = Counter()
    for conversation in each.conversations:
        for label, place in conversation.factors["options"].items():
            uses[conversation.factors["wording"], label, place] += 1
            line = f"\n{label}: {data.location_parts()[part].options[place]}\n"
            assert line in conversation.messages[-2]["content"]
    wordings = {c.factors["wording"]: c.factors["kind"] for c in each.conversations}
    assert Counter(wordings.values()) == {"introspective": 2, "other": 2}
    labels = "ABCDE"[: len(places)]
    assert uses == {(w, label, place): replicates for w in wordings for label in labels for place in places}
    injections = each.batch(steered().vectors, seed=7)
    assert injections[0].vector is None
    assert len(injections) == len(set(injections)) == 1 + 2 * len(CONCEPTS) * len(places)
    rows: list[int] = []
    for index, concept in enumerate(CONCEPTS):
        arms = each.arms(index)
        assert list(arms) == ["sham", *(f"{kind} at {place}" for kind in ("concept", "random") for place in places)]
        for arm in list(arms.values())[1:]:
            kind, place, row = arm.kind, arm.place, arm.row
            own = VectorRecipe("pca_center", concept, seed=7 if kind == "random" else None)
            site = each.sites[place]
            found = injections[row]
            assert (found.vector, found.layers, found.spans) == (own, site.layers, site.spans)
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


def test_an_answer_is_the_place_that_gains_most() -> None:
    assert placed({"a": 1.0, "b": 0.0, "c": -1.0}, "a") == (1.0, 1.5)
    assert placed({"a": 1.0, "b": 0.0, "c": -1.0}, "b") == (0.0, 0.0)
    assert placed({"a": 1.0, "b": 1.0 + 1e-6, "c": -1.0}, "a")[0] == 0.5, "rounding is no difference"
    assert placed({"a": 0.0, "b": 0.0, "c": 0.0}, "c") == (1 / 3, 0.0)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", ["ignores thoughts", "always answers A", "is pushed to A", "is pushed to A and B"])
def test_whoever_does_not_look_at_the_place_is_exactly_at_chance(kind: str, count: int) -> None:
    """Within each trial, whatever the order of the labels."""
    labels, rng = "ABCDE"[:count], np.random.default_rng(0)
    for order in ([*range(count)], [*range(count)][::-1]):
        sham = dict(zip(labels, np.log(rng.dirichlet(np.ones(count))).tolist(), strict=True))
        injected = dict(sham)
        if kind == "always answers A":
            sham = injected = dict.fromkeys(labels, -60.0) | {"A": 0.0}
        for label in "AB" if kind == "is pushed to A and B" else "A" if kind == "is pushed to A" else "":
            injected[label] += 0.7
        changes = {str(place): injected[label] - sham[label] for label, place in zip(labels, order, strict=True)}
        accuracy, nats = mean_scores([placed(changes, place) for place in changes])
        assert accuracy == 1 / count
        assert nats == pytest.approx(0.0, abs=1e-12)


def trials(skill: dict[tuple[bool, str], float], noise: float = 0.0, seed: int = 0) -> list[LocationTrial]:
    """Trials with some accuracy for each kind of question and vector."""
    rng = np.random.default_rng(seed)
    return [
        LocationTrial(
            "halves",
            introspective,
            f"station w{wording} {order}",
            concept,
            {
                vector: (skill.get((introspective, vector), 0.5) + noise * rng.normal(), noise * rng.normal())
                for vector in ("concept", "random")
            },
        )
        for introspective in (True, False)
        for wording in range(2)
        for order in range(2)
        for concept in CONCEPTS
    ]


def by_name(results: list[LocationResult]) -> dict[str, LocationResult]:
    return {result.name: result for result in results}


def test_a_perfect_localiser_has_all_and_the_contrasts_find_it() -> None:
    found = by_name(location_results(trials({(True, "concept"): 1.0}), {"halves": 2}))
    assert [name for name, each in found.items() if each.counts] == list(CONTRASTS)
    for name in CONTRASTS:
        accuracy = found[name].accuracy
        assert accuracy.estimate == accuracy.low == accuracy.high == 0.5, name
    assert found["introspective, concept"].accuracy.estimate == 1.0
    assert found["introspective, concept"].trials == 2 * 2 * len(CONCEPTS)
    for name in ("other, concept", "introspective, random", "other, random"):
        assert found[name].accuracy.estimate == found[name].chance == 0.5
    assert all(each.missing == 0 and each.accuracy.units == len(CONCEPTS) for each in found.values())


def test_what_any_question_or_any_vector_gives_does_not_count() -> None:
    paired, populations, twice = CONTRASTS
    any_question = {(True, "concept"): 0.9, (False, "concept"): 0.9}
    any_vector = {(True, "concept"): 0.9, (True, "random"): 0.9}
    for skill, null, real in ((any_question, paired, populations), (any_vector, populations, paired)):
        covered = {null: 0, twice: 0}
        for seed in range(20):
            found = by_name(location_results(trials(skill, 0.1, seed), {"halves": 2}))
            assert found[real].accuracy.low > 0.1
            for name in covered:
                covered[name] += found[name].accuracy.low < 0 < found[name].accuracy.high
        assert min(covered.values()) >= 16, "95% intervals: fewer than 16 of 20 once in four hundred times"


def test_lost_trials_take_their_item_with_them_and_are_counted() -> None:
    whole = trials({(True, "concept"): 0.8}, 0.1)
    lost = [replace(t, scores={}) if t.concept == "cats" and t.item.endswith("w0 1") else t for t in whole]
    found = by_name(location_results(lost, {"halves": 2}))
    count = len(CONCEPTS)
    for name in ("introspective, concept", "other, random"):
        assert (found[name].trials, found[name].missing) == (3 * count, count)
    assert found[CONTRASTS[0]].missing == 2 * count
    assert found[CONTRASTS[2]].missing == 4 * count
    kept = [t for t in whole if not t.item.endswith("w0 1")]
    same = by_name(location_results(kept, {"halves": 2}))
    assert {name: each.accuracy for name, each in same.items()} == {name: each.accuracy for name, each in found.items()}
    half = [
        replace(t, scores={**t.scores, "random": (math.nan, math.nan)}) if t.concept == "cats" else t for t in whole
    ]
    found = by_name(location_results(half, {"halves": 2}))
    assert found["introspective, concept"].missing == 0
    assert found["introspective, random"].missing == 4, "a concept without any finite trial leaves the others alone"
    assert found[CONTRASTS[1]].accuracy.units == count - 1


def test_results_depend_on_neither_order_nor_other_parts_nor_epochs() -> None:
    some = trials({(True, "concept"): 0.8}, 0.1)
    first = location_results(some, {"halves": 2})
    elsewhere = [replace(t, part="layers") for t in some]
    assert location_results([*elsewhere, *some[::-1]], {"halves": 2}) == first
    assert location_results([*some, *some], {"halves": 2}) == first
    empty = location_results([], {"halves": 2})
    assert [result.trials for result in empty] == [0] * 7
    assert all(math.isnan(result.accuracy.estimate) for result in empty)


def test_a_model_of_few_layers_has_no_early_and_late_ones() -> None:
    with pytest.raises(InputError, match="parts=layers: the model has 3 layers; expected 4 or more"):
        early_and_late(3)
