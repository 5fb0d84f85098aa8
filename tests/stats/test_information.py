"""Bits, p-values and lifts: exact cases, invariances, and calibration by simulation."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from introbench.stats.information import concept_lifts, confusion_matrix, information, plug_in_bits


def always(table: np.ndarray, orders: int = 10) -> np.ndarray:
    """The same answers in every order."""
    return np.broadcast_to(table, (orders, *table.shape))


def namer(orders: int, concepts: int, shift: int = 0) -> np.ndarray:
    """Names the concept `shift` places on from the injected one, with certainty; never "no injection"."""
    return always(np.eye(concepts, concepts + 1)[(np.arange(concepts) + shift) % concepts], orders)


def simulated(
    rng: np.random.Generator, orders: int, concepts: int, effect: float, kind: str = "soft", place_bias: float = 1.0
) -> np.ndarray:
    """A reporter that likes some options and places, is noisy, and hears some concepts better than others."""
    options = concepts + 1
    logits = rng.standard_normal((orders, concepts, options))
    logits += place_bias * rng.standard_normal((orders, 1, options))
    logits += np.linspace(-0.5, 0.5, options)
    logits[:, range(concepts), range(concepts)] += effect * np.linspace(0.5, 1.5, concepts)
    if kind == "soft":
        weights = np.exp(logits)
        return weights / weights.sum(axis=-1, keepdims=True)
    return np.eye(options)[(logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)]


@st.composite
def answers(draw: st.DrawFn) -> np.ndarray:
    orders, concepts, more = draw(st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(0, 1)))
    elements = st.just(0.0) | st.floats(0, 1)
    weights = draw(arrays(np.float64, (orders, concepts, concepts + more), elements=elements))
    weights[weights.sum(axis=-1) == 0, 0] = 1
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("concepts", [2, 3, 9, 20])
@pytest.mark.parametrize("shift", [0, 1])
def test_perfect_reporter_reaches_the_ceiling_even_under_wrong_names(concepts: int, shift: int) -> None:
    reports = namer(10, concepts, shift)
    assert plug_in_bits(reports) == pytest.approx(math.log2(concepts), abs=1e-12)
    result = information(reports, rng=np.random.default_rng(0))
    assert result.ceiling == math.log2(concepts)
    assert (result.bits, result.low, result.high) == pytest.approx([result.ceiling] * 3, abs=1e-9)
    assert result.accuracy == (shift == 0)
    assert result.orders == 10
    if concepts > 2:  # two concepts have but two labellings an order, and chance repeats the true one
        assert result.p_value == 1 / 1001


@pytest.mark.parametrize("answer", [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4]])
def test_constant_reporter_conveys_nothing(answer: list[float]) -> None:
    reports = always(np.array([answer] * 3))
    assert plug_in_bits(reports) == pytest.approx(0, abs=1e-12)
    result = information(reports, rng=np.random.default_rng(0))
    assert (result.bits, result.low, result.high) == pytest.approx([0] * 3, abs=1e-9)
    assert result.p_value == 1
    assert result.accuracy == pytest.approx(sum(answer[:3]) / 3)


def test_reporter_that_answers_by_place_alone_conveys_nothing() -> None:
    first_in_each_order = np.eye(4)[[2, 0, 3, 1, 1, 0]]
    reports = np.repeat(first_in_each_order[:, None], 3, axis=1)
    result = information(reports, rng=np.random.default_rng(0))
    assert result.plug_in == pytest.approx(0, abs=1e-12)
    assert result.p_value == 1


def test_bits_of_a_channel_known_in_closed_form() -> None:
    """Binary symmetric channel: 1 - H(0.1); erasure: what is not erased is known."""
    flips = np.array([[[0.9, 0.1], [0.1, 0.9]]])
    assert plug_in_bits(flips) == pytest.approx(1 + 0.9 * math.log2(0.9) + 0.1 * math.log2(0.1), abs=1e-12)
    erasures = 0.25 * namer(1, 8)
    erasures[..., -1] = 0.75
    assert plug_in_bits(erasures) == pytest.approx(0.25 * 3, abs=1e-12)


@given(answers(), st.randoms(use_true_random=False))
def test_bits_lie_in_range_and_do_not_depend_on_names_or_orders(reports: np.ndarray, random: Random) -> None:
    bits = plug_in_bits(reports)
    assert -1e-12 <= bits <= math.log2(reports.shape[1]) + 1e-12
    for axis in range(3):
        shuffled = random.sample(range(reports.shape[axis]), reports.shape[axis])
        assert plug_in_bits(reports.take(shuffled, axis)) == pytest.approx(bits, abs=1e-9)


@given(answers(), st.integers(0, 99))
def test_result_is_seeded_and_does_not_depend_on_the_options_names(reports: np.ndarray, seed: int) -> None:
    first, again, renamed = (
        information(each, permutations=99, rng=np.random.default_rng(seed))
        for each in (reports, reports, reports[:, :, ::-1])
    )
    assert repr(first) == repr(again)
    assert renamed.plug_in == pytest.approx(first.plug_in, abs=1e-9)
    assert renamed.p_value == first.p_value
    assert renamed.bits == pytest.approx(first.bits, abs=1e-6, nan_ok=True)
    assert renamed.high == pytest.approx(first.high, abs=1e-6, nan_ok=True)


def test_p_values_of_an_independent_reporter_are_uniform() -> None:
    """With a place bias so strong that exchanging answers across orders would show."""
    rng = np.random.default_rng(7)
    p_values = [
        information(simulated(rng, 6, 4, effect=0, place_bias=3), permutations=99, rng=rng).p_value for _ in range(400)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.05


def test_p_values_of_hard_picks_reject_no_more_than_they_should() -> None:
    rng = np.random.default_rng(8)
    p_values = np.array(
        [information(simulated(rng, 10, 9, 0, "hard"), permutations=99, rng=rng).p_value for _ in range(400)]
    )
    for alpha in (0.05, 0.1, 0.3):
        allowed = stats.binom.ppf(0.995, 400, alpha) / 400
        assert (p_values <= alpha).mean() <= allowed
    assert (p_values <= 0.3).mean() > 0.2, "the test is not merely conservative"


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize(("orders", "concepts"), [(10, 9), (20, 3)])
@pytest.mark.parametrize("effect", [0.0, 2.0])
def test_interval_covers_the_truth(kind: str, orders: int, concepts: int, effect: float) -> None:
    rng = np.random.default_rng(9)
    truth = plug_in_bits(simulated(rng, 20000, concepts, effect, kind)) if effect else 0.0
    results = [
        information(simulated(rng, orders, concepts, effect, kind), permutations=99, rng=rng) for _ in range(250)
    ]
    assert np.mean([result.low <= truth <= result.high for result in results]) >= 0.9
    bias, bias_of_plug_in = (np.mean([getattr(r, name) for r in results]) - truth for name in ("bits", "plug_in"))
    assert abs(bias) < 0.1
    assert bias_of_plug_in > 2 * abs(bias), "the correction is worth having"


def test_moderate_information_is_found() -> None:
    rng = np.random.default_rng(10)
    found = [information(simulated(rng, 10, 9, 2), permutations=99, rng=rng) for _ in range(50)]
    assert all(result.p_value <= 0.05 and result.low > 0 for result in found)


@pytest.mark.parametrize("orders", [1, 2])
def test_too_few_orders_give_no_estimate_rather_than_a_false_one(orders: int) -> None:
    result = information(namer(orders, 9), rng=np.random.default_rng(0))
    assert result.plug_in == pytest.approx(math.log2(9))
    assert math.isnan(result.bits)
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.p_value == (1 if orders == 1 else 1 / 1001)


def test_three_orders_are_enough_for_an_estimate() -> None:
    result = information(np.concatenate([namer(1, 3), namer(2, 3, 1)]), rng=np.random.default_rng(0))
    assert result.low < result.bits < result.high


def test_confusion_matrix_is_the_mean_answer() -> None:
    reports = np.array([[[1.0, 0, 0], [0, 0, 1]], [[0.5, 0.5, 0], [0, 0, 1]]])
    assert confusion_matrix(reports).tolist() == [[0.75, 0.25, 0], [0, 0, 1]]


def test_lift_is_the_hit_rate_over_the_background() -> None:
    reports = always(np.array([[0.6, 0.1, 0.3], [0.2, 0.4, 0.4]]), 4)
    first, second = concept_lifts(reports)
    assert (first.hit, first.background, first.lift) == pytest.approx((0.6, 0.2, 3))
    assert (second.hit, second.background, second.lift) == pytest.approx((0.4, 0.1, 4))
    assert (first.low, first.high) == pytest.approx((3, 3)), "orders that agree leave no doubt"


def test_background_averages_the_other_concepts() -> None:
    reports = always(np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.7, 0.2, 0], [0.3, 0.3, 0.4, 0]]), 2)
    assert [lift.background for lift in concept_lifts(reports)] == pytest.approx([0.2, 0.25, 0.2])


def test_lift_interval_is_the_jackknife_by_hand() -> None:
    hits, background = [0.2, 0.4, 0.6], 0.1
    reports = np.array([[[hit, 1 - hit], [background, 1 - background]] for hit in hits])
    lift = concept_lifts(reports)[0]
    logs = np.log([0.5, 0.4, 0.3])  # hit rates without the first, the second, the third order
    error = math.sqrt(2 / 3 * ((logs - logs.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, 2) * error
    assert (lift.lift, lift.low, lift.high) == pytest.approx((4, 4 * math.exp(-reach), 4 * math.exp(reach)))


def test_lift_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(11)
    table = confusion_matrix(simulated(rng, 20000, 9, 1.0))[:, :9]
    hits = table.diagonal()
    truth = hits / ((table.sum(axis=0) - hits) / 8)
    covered = [
        lift.low <= true <= lift.high
        for _ in range(60)
        for lift, true in zip(concept_lifts(simulated(rng, 10, 9, 1.0)), truth, strict=True)
    ]
    assert 0.9 <= np.mean(covered) <= 0.98


def test_lift_without_background_or_hit_has_no_interval() -> None:
    perfect = concept_lifts(namer(10, 3))[0]
    assert (perfect.hit, perfect.background) == (1, 0)
    assert math.isnan(perfect.lift)
    assert math.isnan(perfect.low)
    mistaken = concept_lifts(namer(10, 3, 1))[0]
    assert (mistaken.hit, mistaken.background, mistaken.lift) == (0, 0.5, 0)
    assert math.isnan(mistaken.high)
    named_once = np.concatenate([namer(1, 3), namer(9, 3, 1)])
    assert concept_lifts(named_once)[0].lift == pytest.approx(0.1 / 0.45)
    assert math.isnan(concept_lifts(named_once)[0].low), "without that order there is no hit"
    assert math.isnan(concept_lifts(always(np.full((3, 3), 1 / 3), 1))[0].low)


def test_lift_of_next_to_nothing_is_uncertain_without_bounds() -> None:
    tiny = np.array([[1e-300, 1.0], [0.1, 0.9]])
    lift = concept_lifts(np.stack([tiny, np.array([[0.5, 0.5], [0.1, 0.9]])]))[0]
    assert (lift.lift, lift.low, lift.high) == (pytest.approx(2.5), 0, math.inf)


@pytest.mark.parametrize(
    "reports",
    [
        np.eye(3),
        np.ones((2, 1, 1)),
        np.full((2, 3, 5), 0.2),
        np.full((2, 3, 2), 0.5),
        np.empty((0, 2, 2)),
        np.full((2, 3, 3), 0.3),
        np.full((2, 3, 3), math.nan),
        always(np.array([[1.5, -0.5], [0.5, 0.5]])),
    ],
)
def test_what_is_not_answers_is_refused(reports: np.ndarray) -> None:
    for function in (plug_in_bits, confusion_matrix, concept_lifts):
        with pytest.raises(ValueError, match="expected"):
            function(reports)
    with pytest.raises(ValueError, match="expected"):
        information(reports, rng=np.random.default_rng(0))


def test_too_few_permutations_are_refused() -> None:
    with pytest.raises(ValueError, match="permutations"):
        information(namer(3, 3), permutations=10, rng=np.random.default_rng(0))
