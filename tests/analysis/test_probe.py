"""The probe on planted states: what it finds, what it must not find, and what is recovered of it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from introbench.analysis.probe import (
    COMPARISONS,
    Scores,
    States,
    as_units,
    aurocs,
    balanced_weights,
    detection,
    fold_scores,
    held_out_scores,
)
from introbench.stats.intervals import mean_interval


def planted(
    seed: int,
    *,
    signal: float = 0.0,
    on_random: float = 0.0,
    items: int = 4,
    concepts: int = 6,
    random: int = 6,
    hidden: int = 40,
    layers: int = 1,
) -> States:
    """States with strong differences between items, a direction of each vector's own, noise, and maybe a shared one."""
    rng = np.random.default_rng(seed)
    of_item = 3 * rng.normal(size=(layers, items, 1, hidden))
    of_vector = rng.normal(size=(layers, 1, concepts + random, hidden))
    noise = 0.5 * rng.normal(size=(layers, items, concepts + random, hidden))
    shared = rng.normal(size=hidden)
    size = np.repeat([signal, on_random], [concepts, random])[:, None] * shared / np.linalg.norm(shared)
    sham = of_item + 0.5 * rng.normal(size=(layers, items, 1, hidden))
    return States(of_item + of_vector + noise + size, sham, [0] * (concepts + random), concepts)


def mean_aurocs(states: States, comparison: str) -> tuple[float, float]:
    """Mean AUROC of concepts and of random vectors in the only layer."""
    return mean_aurocs_by_comparison(states)[comparison]


def mean_aurocs_by_comparison(states: States) -> dict[str, tuple[float, float]]:
    """Mean AUROC of concepts and of random vectors in the only layer, by the shams that they are compared with."""
    count, scores = states.injected.shape[1], held_out_scores(states)
    results = {}
    for comparison in COMPARISONS:
        (by_vector,) = aurocs(scores, np.full(count, 1 / count), comparison)
        results[comparison] = float(by_vector[: states.concepts].mean()), float(by_vector[states.concepts :].mean())
    return results


def leaky(states: States, leak: str) -> float:
    """AUROC of concepts against the same sham, by probes that have seen the held-out sham, or the held-out concept."""
    _, items, vectors, hidden = states.injected.shape
    flat = np.concatenate([states.injected[0], states.sham[0]], axis=1).reshape(-1, hidden)
    row = np.arange(items * (vectors + 1)).reshape(items, vectors + 1)
    wins = []
    for concept in range(states.concepts):
        for item in range(items):
            others = [other for other in range(items) if other != item]
            trained = [other for other in range(states.concepts) if leak == "concept" or other != concept]
            shams = row[:, vectors] if leak == "sham" else row[others, vectors]
            tested = np.array([row[item, concept], row[item, vectors]])
            injected, sham = fold_scores(flat @ flat.T, row[np.ix_(others, trained)].ravel(), shams, tested)
            wins.append(float(injected > sham))
    return float(np.mean(wins))


def test_a_shared_direction_is_found_and_random_vectors_are_not() -> None:
    same, any_sham = ([mean_aurocs(planted(seed, signal=12.0), name) for seed in range(10)] for name in COMPARISONS)
    assert np.mean([concepts for concepts, _ in same]) > 0.999
    assert np.mean([concepts for concepts, _ in any_sham]) > 0.9
    assert abs(np.mean([random for _, random in any_sham]) - 0.5) < 0.1
    assert mean_aurocs(planted(0, signal=12.0, on_random=12.0), "same")[1] == 1.0, (
        "any perturbation of that kind is found"
    )


def distance(values: list[float]) -> float:
    """Of a mean AUROC from chance, in standard errors."""
    return float((np.mean(values) - 0.5) / (np.std(values, ddof=1) / math.sqrt(len(values))))


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_nothing_is_found_where_nothing_is(count: int) -> None:
    results = [mean_aurocs_by_comparison(planted(seed)) for seed in range(count)]
    for comparison in COMPARISONS:
        for values in zip(*(result[comparison] for result in results), strict=True):
            assert abs(distance(list(values))) < 3.5


@pytest.mark.slow
def test_leaks_would_show() -> None:
    planted_states = [planted(seed) for seed in range(200)]
    assert abs(distance([leaky(states, "none") for states in planted_states])) < 3.5
    for leak in ("sham", "concept"):
        leaked = distance([leaky(states, leak) for states in planted_states])
        assert leaked > 5, f"training on the held-out {leak}"


def test_scores_equal_a_direct_computation() -> None:
    """The ridge discriminant in its primal form, with the covariance as a matrix."""
    states = planted(3, signal=2.0, concepts=3, random=1, items=3, hidden=7)
    scores = held_out_scores(states)
    injected, sham = states.injected[0], states.sham[0]
    for tested, trained in ((0, [1, 2]), (2, [0, 1]), (3, [0, 1, 2])):
        for item in range(3):
            others = [other for other in range(3) if other != item]
            a, b = injected[np.ix_(others, trained)].reshape(-1, 7), sham[others].reshape(-1, 7)
            scatter = sum((part - part.mean(0)).T @ (part - part.mean(0)) / (2 * len(part)) for part in (a, b))
            ridge = np.trace(scatter) / (len(a) + len(b) - 2)
            w = np.linalg.solve(scatter + ridge * np.eye(7), a.mean(0) - b.mean(0))
            middle, reach = (a.mean(0) + b.mean(0)) / 2, w @ (a.mean(0) - b.mean(0))
            assert scores.injected[0, tested, item] == pytest.approx(w @ (injected[item, tested] - middle) / reach)
            assert scores.sham[0, tested, item] == pytest.approx(w @ (sham[item, 0] - middle) / reach)


def test_moving_turning_and_scaling_all_states_changes_nothing() -> None:
    states = planted(1, signal=3.0, layers=2)
    scores = held_out_scores(states)
    rng = np.random.default_rng(5)
    turn, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    moves: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda x: x + 100 * np.arange(40),
        lambda x: x @ turn,
        lambda x: 1e4 * x,
    ]
    for move in moves:
        again = held_out_scores(States(move(states.injected), move(states.sham), states.beside, states.concepts))
        np.testing.assert_allclose(again.injected, scores.injected, atol=1e-7)
        np.testing.assert_allclose(again.sham, scores.sham, atol=1e-7)


def test_classes_weigh_the_same_however_many_states_they_have() -> None:
    states = planted(2, signal=3.0)
    flat = np.concatenate([states.injected[0], states.sham[0]], axis=1).reshape(-1, 40)
    gram, rows = flat @ flat.T, np.arange(len(flat)).reshape(4, 13)
    injected, sham, tested = rows[:3, :6].ravel(), rows[:3, 12].ravel(), rows[3]
    plain = fold_scores(gram, injected, sham, tested)
    # Each state three times over: the same means and covariances. Only the ridge's denominator knows how many.
    ridge = 3 * len(injected) + len(sham) - 2, len(injected) + len(sham) - 2
    assert ridge[0] > ridge[1]
    repeated = fold_scores(gram, np.tile(injected, 3), sham, tested)
    assert np.corrcoef(plain, repeated)[0, 1] > 0.98
    trained = fold_scores(gram, injected, sham, np.concatenate([injected, sham]))
    assert trained[: len(injected)].mean() == pytest.approx(0.5)
    assert trained[len(injected) :].mean() == pytest.approx(-0.5)


def test_an_injection_that_changes_nothing_is_at_chance() -> None:
    states = planted(0)
    same = np.repeat(states.sham, 12, axis=2)
    scores = held_out_scores(States(same, states.sham, states.beside, 6))
    assert (scores.injected == 0).all()
    for comparison in COMPARISONS:
        assert (aurocs(scores, np.full(4, 0.25), comparison) == 0.5).all()
    noisy = States(same * (1 + 1e-8), states.sham, states.beside, 6)
    assert (held_out_scores(noisy).injected == 0).all(), "rounding is no signal"


def test_what_is_not_finite_is_left_out_whole() -> None:
    states = planted(4, signal=3.0, layers=2)
    injected, sham = states.injected.copy(), states.sham.copy()
    injected[1, 2, 1, 5] = math.inf
    injected[0, 0, 7] = math.nan
    without = held_out_scores(States(injected, sham, states.beside, 6))
    lost = np.isnan(without.injected).any(axis=(0, 2))
    assert lost.nonzero()[0].tolist() == [1, 7]
    assert np.isnan(without.injected[:, lost]).all()
    kept = [vector for vector in range(12) if vector not in (1, 7)]
    fewer = held_out_scores(States(states.injected[:, :, kept], sham, [0] * 10, 5))
    np.testing.assert_allclose(without.injected[:, kept], fewer.injected)
    sham[0, 3] = math.nan
    without = held_out_scores(States(states.injected, sham, states.beside, 6))
    assert np.isnan(without.injected[..., 3]).all()
    fewer = held_out_scores(States(states.injected[:, :3], sham[:, :3], states.beside, 6))
    np.testing.assert_allclose(without.injected[..., :3], fewer.injected)
    assert np.isfinite(aurocs(without, np.full(4, 0.25), "any")).all()


def test_too_few_to_hold_one_out() -> None:
    assert np.isnan(held_out_scores(planted(0, items=1)).injected).all()
    alone = held_out_scores(planted(0, concepts=1, random=2)).injected[0]
    assert np.isnan(alone[0]).all()
    assert np.isfinite(alone[1:]).all(), "random vectors can be scored by a probe of one concept"


def test_vectors_are_beside_the_sham_of_their_batch() -> None:
    states = planted(0, signal=3.0)
    two = States(states.injected, np.concatenate([states.sham, states.sham + 1e-3], axis=2), [0, 1] * 6, 6)
    scores = held_out_scores(two)
    differs = scores.sham[0, 6] != scores.sham[0, 7]  # the same probe for random vectors, two shams
    assert differs.all()
    assert (scores.sham[0, 6] == scores.sham[0, 8]).all()


def test_auroc_is_a_direct_count() -> None:
    rng = np.random.default_rng(0)
    injected, sham = rng.integers(0, 4, (2, 3, 5)).astype(float), rng.integers(0, 4, (2, 3, 5)).astype(float)
    injected[0, 0, 0] = math.nan
    kinds = [False, True, False, False, True]
    weights = balanced_weights(kinds)
    assert weights == pytest.approx([1 / 6, 1 / 4, 1 / 6, 1 / 6, 1 / 4])
    same, every = (aurocs(Scores(injected, sham), weights, comparison) for comparison in COMPARISONS)
    for layer in range(2):
        for vector in range(3):
            items = [q for q in range(5) if not math.isnan(injected[layer, vector, q])]

            def count(
                pairs: list[tuple[int, int]], layer: int = layer, vector: int = vector, one: bool = True
            ) -> float:
                won = total = 0.0
                for q, r in pairs:
                    weight = weights[q] if one else weights[q] * weights[r]
                    a, b = injected[layer, vector, q], sham[layer, vector, r]
                    won, total = won + weight * (1.0 if a > b else 0.5 if a == b else 0.0), total + weight
                return won / total

            assert same[layer, vector] == pytest.approx(count([(q, q) for q in items]))
            assert every[layer, vector] == pytest.approx(count([(q, r) for q in items for r in items], one=False))


def test_a_push_toward_yes_is_at_chance() -> None:
    """Four plain questions rise and two reversed ones fall, by as much as one likes."""
    signs = np.array([1, 1, 1, 1, -1, -1])
    sham = np.zeros((1, 2, 6))
    pushed = Scores(sham + signs * 3.0, sham)
    for comparison in COMPARISONS:
        assert aurocs(pushed, balanced_weights([sign < 0 for sign in signs]), comparison) == pytest.approx(0.5)


def test_what_is_recovered() -> None:
    rng = np.random.default_rng(0)
    probe = np.array([0.9, 1.0, 0.8, 0.95, 1.0, 0.85, 0.9])

    def recovered(report: np.ndarray, of: np.ndarray = probe) -> tuple[float, float, float, str]:
        result = detection(of, report, rng, are_concepts=True)
        return result.recovered.estimate, result.recovered.low, result.recovered.high, result.reason

    assert recovered(probe)[:3] == pytest.approx((1.0, 1.0, 1.0))
    assert recovered(probe)[3] == ""
    assert recovered(np.full(7, 0.5))[:3] == pytest.approx((0.0, 0.0, 0.0))
    assert recovered(0.5 + (probe - 0.5) / 4)[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert recovered(1 - probe)[0] == pytest.approx(-1.0), "a report that turns away"
    estimate, *_, reason = recovered(probe, of=np.array([0.7, 0.4, 0.5, 0.6, 0.45, 0.5, 0.5]))
    assert math.isnan(estimate)
    assert reason == "the probe is not above chance"
    assert math.isnan(recovered(probe, of=1 - probe)[0]), "below chance is not above it"
    assert recovered(probe[:1], of=probe[:1])[3] == "fewer than two vectors"
    assert recovered(np.full(7, math.nan))[3] == "fewer than two vectors"


def test_the_interval_of_what_is_recovered_holds() -> None:
    """Of a ratio whose two parts vary together over concepts."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        probe = 0.9 + 0.05 * rng.normal(size=9)
        report = 0.5 + 0.3 * (probe - 0.5) + 0.06 * rng.normal(size=9)
        recovered = detection(probe, report, rng, are_concepts=False).recovered
        held += recovered.low <= 0.3 <= recovered.high
    assert 0.91 < held / 300 < 0.985


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_concepts_that_train_each_other_need_wider_intervals(count: int) -> None:
    """Where nothing is there, the interval is above chance about as seldom as it says, which the plain one is not."""
    wide, plain = 0, 0
    for seed in range(count):
        states = planted(seed, random=0, items=3)
        values = aurocs(held_out_scores(states), np.full(3, 1 / 3), "any")[0]
        rng = np.random.default_rng(0)
        wide += mean_interval(as_units(values), rng=rng).low > 0.5
        plain += mean_interval(values, rng=rng).low > 0.5
    assert wide / count < 0.09
    assert plain > wide
