"""Means and contrasts over trials: which pairs they use, their signs, and what is missing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from introbench.contrasts import Result, TrialShift, contrasts, mean_shifts, results_table

CONCEPTS = ["cats", "bread", "love", "fear", "death", "truth", "creativity", "programming", "music"]
DOCUMENTS = ["none", "info", "inaccurate", "lorem", "neutral"]
FAMILIES = ["introspection", "always_no", "always_yes"]
ITEMS = ["a.yes-no", "b.yes-no", "c.one-zero"]


def battery(noise: float = 0.1) -> list[TrialShift]:
    """Shifts with known effects: introspection +1, +0.5 more under info; concepts +0.25 over random vectors."""
    draw = np.random.default_rng(7)
    of_vector = {f"random {concept}-0": noise * draw.standard_normal() for concept in CONCEPTS}
    trials = []
    for document in DOCUMENTS:
        for family in FAMILIES:
            base = (family == "introspection") * (1.0 + 0.5 * (document == "info"))
            for item in ITEMS:
                for number, concept in enumerate(CONCEPTS):
                    vectors = [f"random {CONCEPTS[(number + k) % 9]}-0" for k in range(3)]
                    shift = base + 0.25 + noise * draw.standard_normal()
                    random = {vector: base + of_vector[vector] for vector in vectors}
                    trials.append(TrialShift(document, family, item, concept, 1.0, shift, random))
    return trials


def by_key(results: list[Result]) -> dict[str, Result]:
    return {result.key: result for result in results}


def test_planted_effects_are_found_within_their_intervals() -> None:
    found = by_key(contrasts(battery()))
    truths = {
        "introspection - always_no | info": (1.5, 9),
        "introspection - always_yes | lorem": (1.0, 9),
        "info - lorem": (0.5, 27),
        "info - none": (0.5, 27),
        "info - inaccurate": (0.5, 27),
        "concept - random vector | neutral": (0.25, 27),
    }
    for key, (truth, pairs) in truths.items():
        interval = found[key].interval
        assert interval.low <= truth <= interval.high, key
        assert interval.high - interval.low < 0.4, key
        assert found[key].pairs == pairs
        assert found[key].missing == 0


def test_means_cover_every_document_and_family() -> None:
    means = by_key(mean_shifts(battery(noise=0.0)))
    assert len(means) == len(DOCUMENTS) * len(FAMILIES)
    assert means["introspection | info"].interval.estimate == pytest.approx(1.75)
    assert means["always_no | info"].interval.estimate == pytest.approx(0.25)
    assert means["always_no | info"].pairs == 27


def test_missing_trials_are_counted_and_their_pairs_dropped() -> None:
    trials = battery()
    lost = next(i for i, t in enumerate(trials) if t.document == "info" and t.family == "introspection")
    trials[lost] = replace(trials[lost], shift=math.nan, random={})
    found = by_key(contrasts(trials))
    assert (found["info - lorem"].pairs, found["info - lorem"].missing) == (26, 1)
    assert (found["concept - random vector | info"].pairs, found["concept - random vector | info"].missing) == (26, 1)
    assert found["introspection - always_no | info"].missing == 1
    assert by_key(mean_shifts(trials))["introspection | info"].missing == 1
    assert math.isfinite(found["info - lorem"].interval.estimate)


def test_an_unmatched_document_has_no_pairs_and_says_so() -> None:
    trials = [t for t in battery() if t.document != "lorem" or t.family != "introspection"]
    result = by_key(contrasts(trials))["info - lorem"]
    assert math.isnan(result.interval.estimate)
    assert result.pairs == 0
    assert "no pairs" in results_table([result])


def test_concepts_are_the_units_not_trials() -> None:
    """Asking the same question many times must not make the interval narrower."""
    trials = [t for t in battery() if t.item == ITEMS[0]]
    many = [replace(t, item=f"{t.item}-{copy}") for t in trials for copy in range(20)]
    one_width, many_width = (
        result.interval.high - result.interval.low
        for result in (by_key(mean_shifts(ts))["introspection | info"] for ts in (trials, many))
    )
    assert many_width == pytest.approx(one_width)


def test_results_do_not_depend_on_the_order_of_trials() -> None:
    trials = battery()
    assert contrasts(trials) == contrasts(trials[::-1])
    assert mean_shifts(trials) == mean_shifts(trials[::-1])


def test_random_contrast_is_as_uncertain_as_its_random_vectors() -> None:
    """Three noisy random vectors used by all concepts are three units, however many trials use them."""
    draw = np.random.default_rng(3)
    level = {f"r{k}": 5 * draw.standard_normal() for k in range(3)}
    trials = [
        TrialShift("info", "introspection", item, concept, 1.0, 1.0 + 0.01 * draw.standard_normal(), dict(level))
        for item in ITEMS
        for concept in CONCEPTS
    ]
    interval = by_key(contrasts(trials))["concept - random vector | info"].interval
    assert interval.units == 3
    assert interval.high - interval.low > 5


def test_a_pure_push_toward_yes_is_not_introspection() -> None:
    """Whatever the share of reversed questions, and however large the push, the contrast is exactly 0."""
    trials = [
        TrialShift("info", family, item, concept, sign, sign * push, {})
        for concept, push in zip(CONCEPTS, [0.5, 1, 2, 3, 1, 4, 2, 1, 5], strict=True)
        for family, item, sign in [
            ("introspection", "a", 1.0),
            ("introspection", "b", 1.0),
            ("introspection", "c", -1.0),
            ("always_no", "d", 1.0),
        ]
    ]
    interval = by_key(contrasts(trials))["introspection - always_no | info"].interval
    assert interval.estimate == pytest.approx(0, abs=1e-12)
    noticing = [replace(t, shift=t.shift + 1) if t.family == "introspection" else t for t in trials]
    assert by_key(contrasts(noticing))["introspection - always_no | info"].interval.estimate == pytest.approx(1)
