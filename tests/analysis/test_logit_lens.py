"""Peaks over layers: where they are, what is taken away, and that a chosen layer does not flatter itself."""

import math

import numpy as np

from introbench.analysis.logit_lens import LensTrial, by_document, concept_means, peak
from introbench.stats.intervals import mean_interval

CONCEPTS = ["cats", "bread", "love", "fear", "death", "truth", "creativity", "programming", "music"]
LAYERS = 12


def trials(height: float, final: float, noise: float, seed: int = 0) -> list[LensTrial]:
    """A hill at layer 8 that falls to `final` after the last layer, on two questions per concept."""
    draw = np.random.default_rng(seed)
    hill = height * np.exp(-(((np.arange(LAYERS) - 8) / 2.0) ** 2))
    hill[-1] = final
    return [
        LensTrial("info", item, concept, hill + noise * draw.standard_normal(LAYERS), np.zeros(LAYERS), {})
        for concept in CONCEPTS
        for item in ("a", "b")
    ]


def test_a_planted_peak_is_found_with_what_is_lost_after_it() -> None:
    found = peak("info", trials(2.0, 0.5, noise=0.1))
    assert found.layer.estimate == 8
    assert found.layer.low >= 7
    assert found.layer.high <= 9
    assert found.gap.low < 2.0 < found.gap.high
    assert found.final.low < 0.5 < found.final.high
    assert found.suppression.low < 1.5 < found.suppression.high
    assert found.missing == 0


def test_the_intervals_pay_for_the_choice_of_the_layer() -> None:
    """Without any effect, the largest of twelve noisy means looks like one; its interval must not."""
    draws = [trials(0.0, 0.0, noise=1.0, seed=seed) for seed in range(300)]
    found = [peak("info", each, resamples=100) for each in draws]
    naive = [
        mean_interval(concept_means(each)[0][:, int(one.layer.estimate)], rng=np.random.default_rng(0))
        for each, one in zip(draws[:100], found, strict=False)
    ]
    assert np.mean([interval.low > 0 for interval in naive]) > 0.15
    assert np.mean([one.gap.low > 0 for one in found]) < 0.05
    assert np.mean([one.suppression.low > 0 for one in found]) < 0.05
    assert np.median([one.layer.high - one.layer.low for one in found]) > 5, "no layer stands out, and it says so"


def test_neither_order_nor_lost_trials_bias_a_peak() -> None:
    whole = trials(2.0, 0.5, noise=0.1)
    grouped = by_document(whole[::-1], ["info", "none"])
    assert grouped["none"] == []
    assert peak("info", grouped["info"]) == peak("info", by_document(whole, ["info"])["info"])
    lost = [t if (t.concept, t.item) != ("cats", "a") else LensTrial("info", "a", "cats", *_nan(), {}) for t in whole]
    found = peak("info", lost)
    assert found.missing == 9, "the question is left out for every concept"
    assert found.layer.units == 9
    assert math.isnan(peak("none", []).gap.estimate)
    alone = peak("info", [t for t in whole if t.concept == "cats"])
    assert alone.layer.estimate in (7, 8, 9)
    assert math.isnan(alone.gap.low)


def test_curves_that_nobody_has_are_left_out_and_epochs_count_once() -> None:
    dark = [
        LensTrial(t.document, t.item, t.concept, t.gap, t.random, {"P(yes)": np.full(LAYERS, math.nan)})
        for t in trials(2.0, 0.5, noise=0.1)
    ]
    gaps, _, curves, missing = concept_means([*dark, *dark])
    assert curves == {}
    assert missing == 0
    assert np.array_equal(gaps, concept_means(dark)[0])


def _nan() -> tuple[np.ndarray, np.ndarray]:
    return np.array([math.nan]), np.array([math.nan])
