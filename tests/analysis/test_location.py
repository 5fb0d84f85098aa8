"""Where a thought was placed: scores of single answers, and contrasts over trials."""

import math
from dataclasses import replace

import numpy as np
import pytest

from introbench.analysis.location import (
    CONTRASTS,
    HEADLINE,
    LocationResult,
    LocationTrial,
    location_results,
    mean_scores,
    placed,
)

CONCEPTS = ("cats", "bread", "love", "fear", "truth", "music")


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
    results = by_name(location_results(trials({(True, "concept"): 1.0}), {"halves": 2}))
    assert [name for name, result in results.items() if result.is_contrast] == list(CONTRASTS)
    assert [name for name, result in results.items() if result.is_headline] == [HEADLINE] == [CONTRASTS[0]]
    for name in CONTRASTS:
        accuracy = results[name].accuracy
        assert accuracy.estimate == accuracy.low == accuracy.high == 0.5, name
    assert results["introspective, concept"].accuracy.estimate == 1.0
    assert results["introspective, concept"].trials == 2 * 2 * len(CONCEPTS)
    for name in ("other, concept", "introspective, random", "other, random"):
        assert results[name].accuracy.estimate == results[name].chance == 0.5
    assert all(result.missing == 0 and result.accuracy.units == len(CONCEPTS) for result in results.values())


def test_what_any_question_or_any_vector_gives_does_not_count() -> None:
    between_both, between_questions, between_vectors = CONTRASTS
    any_question = {(True, "concept"): 0.9, (False, "concept"): 0.9}
    any_vector = {(True, "concept"): 0.9, (True, "random"): 0.9}
    for skill, null, real in (
        (any_question, between_questions, between_vectors),
        (any_vector, between_vectors, between_questions),
    ):
        covered = {null: 0, between_both: 0}
        for seed in range(20):
            results = by_name(location_results(trials(skill, 0.1, seed), {"halves": 2}))
            assert results[real].accuracy.low > 0.1
            for name in covered:
                covered[name] += results[name].accuracy.low < 0 < results[name].accuracy.high
        assert min(covered.values()) >= 16, "95% intervals: fewer than 16 of 20 once in four hundred times"


def test_lost_trials_take_their_item_with_them_and_are_counted() -> None:
    complete = trials({(True, "concept"): 0.8}, 0.1)
    lost = [replace(t, scores={}) if t.concept == "cats" and t.item.endswith("w0 1") else t for t in complete]
    results = by_name(location_results(lost, {"halves": 2}))
    count = len(CONCEPTS)
    for name in ("introspective, concept", "other, random"):
        assert (results[name].trials, results[name].missing) == (3 * count, count)
    assert results[CONTRASTS[1]].missing == 2 * count
    assert results[HEADLINE].missing == 4 * count
    kept = [t for t in complete if not t.item.endswith("w0 1")]
    same = by_name(location_results(kept, {"halves": 2}))
    assert {name: result.accuracy for name, result in same.items()} == {
        name: result.accuracy for name, result in results.items()
    }
    half = [
        replace(t, scores={**t.scores, "random": (math.nan, math.nan)}) if t.concept == "cats" else t for t in complete
    ]
    results = by_name(location_results(half, {"halves": 2}))
    assert results["introspective, concept"].missing == 0
    assert results["introspective, random"].missing == 4, "a concept without any finite trial leaves the others alone"
    assert results[CONTRASTS[2]].accuracy.units == count - 1


def test_results_depend_on_neither_order_nor_other_parts_nor_epochs() -> None:
    some = trials({(True, "concept"): 0.8}, 0.1)
    first = location_results(some, {"halves": 2})
    elsewhere = [replace(t, part="layers") for t in some]
    assert location_results([*elsewhere, *some[::-1]], {"halves": 2}) == first
    assert location_results([*some, *some], {"halves": 2}) == first
    empty = location_results([], {"halves": 2})
    assert [result.trials for result in empty] == [0] * 7
    assert all(math.isnan(result.accuracy.estimate) for result in empty)


@pytest.mark.parametrize("runs", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_the_headline_holds_where_wordings_differ_and_seldom_has_a_mark_without_an_effect(runs: int) -> None:
    """Some wordings are answered better than others, under all vectors alike, which fools the first difference."""
    fooled, excluded, marked = [], [], []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        moved = []
        for part in ("halves", "layers", "stronger"):
            of_wording = {(t.introspective, t.item[:-2]): 0.1 * rng.normal() for t in trials({})}
            for t in trials({}, 0.05, int(rng.integers(1 << 30))):
                more = of_wording[t.introspective, t.item[:-2]]
                scores = {vector: (share + more, nats + more) for vector, (share, nats) in t.scores.items()}
                moved.append(replace(t, part=part, scores=scores))
        results = location_results(moved, {"halves": 2, "layers": 2, "stronger": 2}, seed=seed)
        headlines = [result for result in results if result.is_headline]
        marked.append(any(result.is_marked for result in headlines))
        excluded += [not result.nats.low <= 0 <= result.nats.high for result in headlines]
        fooled += [not r.nats.low <= 0 <= r.nats.high for r in results if r.name == CONTRASTS[1]]
    assert np.mean(fooled) > 0.3, "which is why it does not count by itself"
    assert np.mean(excluded) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(excluded))
    assert np.mean(marked) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_a_headline_is_marked_where_it_holds_for_all_parts_together() -> None:
    both = [
        *trials({(True, "concept"): 0.9}, 0.05),
        *(replace(t, part="layers") for t in trials({(True, "concept"): 0.9, (False, "concept"): 0.9}, 0.05)),
    ]
    results = location_results(both, {"halves": 2, "layers": 2})
    assert [(result.part, result.name) for result in results if result.is_marked] == [("halves", HEADLINE)]
