"""Reports of concepts: bits, lifts, and what lost trials and arms take with them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from introbench.analysis.identification import Report, identify

CONCEPTS = ["cats", "bread", "love"]
KINDS = {"sham": "sham", "concept": "concept", "random 1": "random"}


def reports(faithful: float, nothing: float = 0.2) -> list[Report]:
    """A model that names the injected concept with some probability, and else any concept or nothing."""
    made = []
    for item in range(8):
        for concept in CONCEPTS:
            guess = dict.fromkeys(CONCEPTS, (1 - faithful) * (1 - nothing) / 3) | {"": (1 - faithful) * nothing}
            injected = guess | {concept: guess[concept] + faithful}
            sham = dict.fromkeys(CONCEPTS, (1 - nothing) / 3) | {"": nothing}
            arms = {"sham": sham, "concept": injected, "random 1": sham}
            made.append(
                Report(
                    "list",
                    "info",
                    f"order-{item}",
                    concept,
                    arms,
                    KINDS,
                    {n: [p, p] for n, p in injected.items()},
                    "random 1",
                )
            )
    return made


def test_a_perfect_reporter_has_all_the_bits() -> None:
    result = identify(reports(1.0), by_layer=True)
    assert result
    assert result.information.plug_in == result.information.ceiling == math.log2(3)
    assert result.information.bits == pytest.approx(math.log2(3))
    assert result.information.accuracy == 1.0
    assert np.array_equal(result.confusion[:, :3], np.eye(3))
    assert result.nothing.estimate == pytest.approx(-0.2)
    assert result.nothing_random.estimate == pytest.approx(0.0)
    assert np.isnan(result.nothing_random.low), "concepts share random vectors"
    assert result.bits_by_layer == pytest.approx([math.log2(3)] * 2)
    assert result.missing == 0


def test_a_guesser_has_none() -> None:
    result = identify(reports(0.0))
    assert result
    assert result.information.plug_in == pytest.approx(0.0, abs=1e-12)
    assert result.information.p_value == 1.0
    assert [lift.lift for lift in result.lifts] == pytest.approx([1.0] * 3)


def test_lost_trials_take_their_order_with_them() -> None:
    complete = reports(0.5)
    lost = [
        r if (r.item, r.concept) != ("order-3", "cats") else Report("list", "info", "order-3", "cats", {}, KINDS, {})
        for r in complete
    ]
    result = identify(lost[::-1])
    assert result
    assert result.missing == 3
    assert result.information.orders == 7
    assert identify(complete[:1]) is None, "one concept alone carries no information"
    assert identify([]) is None


def test_a_random_arm_that_is_not_finite_is_left_out() -> None:
    complete = reports(0.5)
    arms = {arm: report for arm, report in complete[0].arms.items() if arm != "random 1"}
    without = Report("list", "info", "order-0", "cats", arms, KINDS, complete[0].lens)
    result = identify([without, *complete[1:]])
    assert result
    assert result.nothing_random.estimate == pytest.approx(0.0)
    assert result.nothing.estimate == pytest.approx(-0.1)


def shifted(seed: int, count: int = 9, faithful: float = 0.0) -> list[Report]:
    """Vectors without content: each shifts the log-odds of all options in its own way, concepts and rotations alike."""
    draw = np.random.default_rng(seed)
    names = [f"concept {number}" for number in range(count)]
    own = {(kind, name): 0.8 * draw.standard_normal(count) for kind in ("concept", "random 1") for name in names}
    made = []
    for item in range(10):
        of_item = draw.standard_normal(count)
        for place, name in enumerate(names):
            arms = {}
            for kind in ("sham", "concept", "random 1"):
                odds = of_item + own.get((kind, name), 0.0)
                weights = np.exp(odds + 0.2 * draw.standard_normal(count))
                report = (1 - faithful) * weights / weights.sum()
                if kind == "concept":
                    report[place] += faithful
                arms[kind] = dict(zip(names, (report / report.sum()).tolist(), strict=True))
            made.append(Report("list", "info", f"order-{item}", name, arms, KINDS, {}, "random 1"))
    return made


@pytest.mark.parametrize("runs", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_vectors_without_content_that_shift_answers_give_no_conclusion(runs: int) -> None:
    alone, concluded, accuracies = [], [], []
    for seed in range(runs):
        result = identify(shifted(seed), seed=seed)
        assert result
        assert result.beyond_random
        alone.append(result.information.p_value < 0.05)
        concluded.append(result.beyond_random.p_value <= 0.05)
        accuracies.append(result.information.accuracy)
    assert np.mean(alone) > 0.9, "bits by themselves seem to say something"
    assert np.mean(accuracies) == pytest.approx(1 / 9, abs=0.02)
    assert np.mean(concluded) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_a_reporter_is_found_beyond_random_vectors() -> None:
    result = identify(shifted(1, faithful=0.4))
    assert result
    assert result.beyond_random
    assert result.beyond_random.smallest_p == 1 / 2**9
    assert result.beyond_random.p_value < 0.01
    assert result.information.bits - result.random_bits > 0.3
    without = [replace(report, rotation="") for report in shifted(1, faithful=0.4)]
    alone = identify(without)
    assert alone
    assert alone.beyond_random is None
    assert math.isnan(alone.random_bits)
