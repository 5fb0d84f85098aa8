"""Rates of yes and no answers: known values, and how often their intervals cover the truth."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from introbench.stats.rates import d_prime_interval, jackknife_interval, rate_difference, rate_interval

COUNTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


def test_d_prime_is_the_distance_of_the_corrected_quantiles() -> None:
    quantile = NormalDist().inv_cdf
    found = d_prime_interval([(10, 20), (20, 20)], [(5, 50), (0, 0)])
    assert found.estimate == pytest.approx(quantile(30.5 / 41) - quantile(5.5 / 51))
    assert d_prime_interval([(3, 7), (1, 7)], [(4, 14)]).estimate == 0
    best = d_prime_interval([(10, 10)] * 8, [(0, 10)] * 8)
    assert best.estimate == -d_prime_interval([(0, 10)] * 8, [(10, 10)] * 8).estimate
    assert 1.5 < best.low < best.estimate == best.high
    assert math.isnan(d_prime_interval([(0, 0)], [(1, 2)]).estimate)
    assert math.isnan(d_prime_interval([(1, 2)], []).estimate)


def test_a_rate_of_single_trials_has_nearly_the_exact_binomial_interval() -> None:
    """Clusters of one trial: the effective number is theirs, but for the correction for few clusters."""
    found = rate_interval([1] * 30 + [0] * 170, [1] * 200)
    exact = binomtest(30, 200).proportion_ci(method="exact")
    assert found.estimate == 0.15
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.003)
    assert found.low < exact.low
    assert found.high > exact.high


def test_where_all_trials_agree_each_cluster_counts_once() -> None:
    exact = binomtest(0, 25).proportion_ci(method="exact")
    assert rate_interval([0] * 25, [8] * 25).high == pytest.approx(exact.high)
    assert rate_interval([0] * 25, [8] * 25).low == 0
    assert rate_interval([8] * 25, [8] * 25).low == pytest.approx(1 - exact.high)
    assert rate_interval([8] * 25, [8] * 25).high == 1


def test_clusters_that_agree_within_are_worth_less() -> None:
    alike = rate_interval([4] * 10 + [0] * 10, [4] * 20)
    mixed = rate_interval([2] * 19 + [1, 3], [4] * 21)
    assert alike.high - alike.low > 2 * (mixed.high - mixed.low)


@given(COUNTS)
def test_a_rate_lies_in_its_interval(clusters: list[tuple[int, int]]) -> None:
    yes, no = zip(*clusters, strict=True)
    trials = [a + b for a, b in clusters]
    found = rate_interval(yes, trials)
    if not sum(trials):
        assert math.isnan(found.estimate)
    elif found.units == 1:
        assert math.isnan(found.low)
    else:
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        mirrored = rate_interval(no, trials)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected as many clusters, and no more yes than trials"):
        rate_interval([3], [2])


def test_a_difference_of_rates_that_never_varies_is_still_uncertain() -> None:
    nothing = rate_difference([(0, 4)] * 25, [(0, 4)] * 25)
    assert nothing.estimate == 0
    assert -0.2 < nothing.low < -0.1
    assert 0.1 < nothing.high < 0.2
    all_told = rate_difference([(4, 4)] * 25, [(0, 4)] * 25)
    assert (all_told.estimate, all_told.high) == (1, 1)
    assert 0.7 < all_told.low < 0.9


def test_a_difference_is_taken_within_clusters_and_stays_between_its_bounds() -> None:
    paired = rate_difference([(3, 4), (1, 4), (4, 4)] * 4, [(2, 4), (0, 4), (3, 4)] * 4)
    assert paired.estimate == pytest.approx(0.25)
    wide = rate_difference([(0, 1), (1, 1)], [(0, 1), (0, 1)])
    assert -1 < wide.low < 0
    assert wide.high == 1
    assert math.isnan(rate_difference([(0, 0)], [(0, 1)]).estimate)


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(1).normal(size=12)
    found = jackknife_interval(lambda kept: float(values[kept].mean()), 12)
    error = values.std(ddof=1) / math.sqrt(12)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate == pytest.approx(2.200985 * error, rel=1e-5)


def test_the_jackknife_gives_no_ends_where_it_cannot() -> None:
    assert math.isnan(jackknife_interval(lambda _: math.nan, 9).estimate)
    assert math.isnan(jackknife_interval(lambda _: 1.0, 0).estimate)
    rests_on_one = jackknife_interval(lambda kept: 1.0 if kept[3] else math.nan, 9)
    assert (rests_on_one.estimate, math.isnan(rests_on_one.low)) == (1.0, True)
    assert math.isnan(jackknife_interval(lambda _: 1.0, 4).low)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_intervals_cover_the_truth(rate: float, spread: float) -> None:
    """25 concepts with 2 answers each, whose rates differ between concepts (beta), and false alarms of 0.1."""
    draw = np.random.default_rng(7)
    runs, covered = 400, {"rate": 0, "difference": 0, "d_prime": 0}
    distance = NormalDist().inv_cdf(rate) - NormalDist().inv_cdf(0.1)
    for _ in range(runs):
        of_concepts = draw.beta(spread * rate, spread * (1 - rate), 25)
        hits, alarms = draw.binomial(2, of_concepts), draw.binomial(2, 0.1, 25)
        found = rate_interval(hits, [2] * 25)
        covered["rate"] += found.low <= rate <= found.high
        pairs = [[(float(yes), 2.0) for yes in kind] for kind in (hits, alarms)]
        found = rate_difference(*pairs)
        covered["difference"] += found.low <= rate - 0.1 <= found.high
        found = d_prime_interval(*pairs)
        covered["d_prime"] += found.low <= distance <= found.high
    assert covered["rate"] >= 0.93 * runs
    assert covered["difference"] >= 0.93 * runs
    assert covered["d_prime"] >= 0.93 * runs
