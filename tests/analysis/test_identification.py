"""Reports of concepts: bits, lifts, and what lost trials and arms take with them."""

import math

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
                Report("list", "info", f"order-{item}", concept, arms, KINDS, {n: [p, p] for n, p in injected.items()})
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
