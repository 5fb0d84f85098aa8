"""Peaks over layers: where they are, what is taken away, and that a chosen layer does not flatter itself."""

import math

import numpy as np
import pytest

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
    result = peak("info", trials(2.0, 0.5, noise=0.1))
    assert result.layer.estimate == 8
    assert result.layer.low >= 7
    assert result.layer.high <= 9
    assert result.gap.low < 2.0 < result.gap.high
    assert result.final.low < 0.5 < result.final.high
    assert result.suppression.low < 1.5 < result.suppression.high
    assert result.missing == 0


@pytest.mark.parametrize("count", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_the_intervals_pay_for_the_choice_of_the_layer(count: int) -> None:
    """Without any effect, the largest of twelve noisy means looks like one; its interval must not."""
    draws = [trials(0.0, 0.0, noise=1.0, seed=seed) for seed in range(count)]
    peaks = [peak("info", simulated, resamples=100) for simulated in draws]
    naive = [
        mean_interval(concept_means(simulated)[0][:, int(chosen.layer.estimate)], rng=np.random.default_rng(0))
        for simulated, chosen in zip(draws[:100], peaks, strict=False)
    ]
    assert np.mean([interval.low > 0 for interval in naive]) > 0.15
    assert np.mean([chosen.gap.low > 0 for chosen in peaks]) < 0.05
    assert np.mean([chosen.suppression.low > 0 for chosen in peaks]) < 0.05
    assert np.median([chosen.layer.high - chosen.layer.low for chosen in peaks]) > 5, (
        "no layer stands out, and it says so"
    )


def test_neither_order_nor_lost_trials_bias_a_peak() -> None:
    complete = trials(2.0, 0.5, noise=0.1)
    grouped = by_document(complete[::-1], ["info", "none"])
    assert grouped["none"] == []
    assert peak("info", grouped["info"]) == peak("info", by_document(complete, ["info"])["info"])
    lost = [
        t if (t.concept, t.item) != ("cats", "a") else LensTrial("info", "a", "cats", *_nan(), {}) for t in complete
    ]
    result = peak("info", lost)
    assert result.missing == 9, "the question is left out for every concept"
    assert result.layer.units == 9
    assert math.isnan(peak("none", []).gap.estimate)
    alone = peak("info", [t for t in complete if t.concept == "cats"])
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
