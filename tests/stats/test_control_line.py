"""Confusion and noticing: exact on planted data, robust, and intervals that cover the truth."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from introbench.stats.balanced_answers import Answer
from introbench.stats.control_line import beyond, confusion, difference, excess_by_unit
from introbench.stats.intervals import Interval
from introbench.stats.robust_line import _weights, robust_lines

CONTROLS = np.concatenate([np.linspace(-6, -2, 14), np.linspace(2, 6, 12), np.linspace(-1.5, 1.5, 8)])
SIGNS = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])
ASKED = np.array([-4.0, -3.0, -2.5, -1.0, 2.0, 3.5])
ITEMS = [*((f"control {n:02}", 0.0, at) for n, at in enumerate(CONTROLS))]
ITEMS += [(f"question {n}", sign, at) for n, (sign, at) in enumerate(zip(SIGNS, ASKED, strict=True))]

Shift = Callable[[int, float, float], float]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answers(shift: Shift, units: int = 9, kind: str = "words", labels: str = "a-b") -> list[Answer]:
    """Answers of every unit; the shift is given by unit, sign and baseline."""
    return [
        Answer(f"unit {unit}", item, kind, labels, sign, at, shift(unit, sign, at))
        for unit in range(units)
        for item, sign, at in ITEMS
    ]


def noisy(seed: int, units: int = 9, spread: float = 0.3, **kwargs: str) -> list[Answer]:
    draw = rng(seed)
    return answers(lambda unit, sign, at: 0.4 - 0.2 * at + spread * draw.standard_normal(), units, **kwargs)


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.estimate, interval.high


# Exactness


@pytest.mark.parametrize(("bias", "flattening"), [(1.5, 0.0), (0.0, 0.4), (0.8, 0.3), (-2.0, -0.1), (0.0, 0.0)])
def test_confusion_alone_is_no_excess(bias: float, flattening: float) -> None:
    found = confusion(answers(lambda _, sign, at: bias - flattening * at), rng=rng())
    for interval, truth in ((found.excess, 0), (found.bias, bias), (found.flattening, flattening)):
        assert ends(interval) == pytest.approx((truth,) * 3, abs=1e-9)
    assert (found.questions, found.controls, found.missing, found.without_line) == (6, 34, 0, ())
    assert found.covered == 1
    assert found.excess.units == 9


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_a_pull_of_probabilities_is_an_excess_over_a_line_and_none_over_a_pull(share: float) -> None:
    def shift(_: int, sign: float, at: float) -> float:
        return 0.3 + pulled(at, share)

    def at_the_edge(answer: Answer) -> Answer:
        at = -5.5 * answer.sign
        return replace(answer, baseline=at, shift=shift(0, answer.sign, at)) if answer.sign else answer

    found = confusion([at_the_edge(answer) for answer in answers(shift)], rng=rng())
    assert found.covered == 1
    assert found.excess.estimate > 0.3, "taken for a line, it looks like noticing"
    assert abs(found.over_pull) < 0.05


@pytest.mark.parametrize("share", [0.0, 0.03, 0.3])
def test_noticing_is_an_excess_over_a_pull_too(share: float) -> None:
    draw = rng()
    noticing = answers(lambda _, sign, at: 0.3 + pulled(at, share) + sign + 0.3 * draw.standard_normal())
    assert confusion(noticing, rng=rng()).over_pull == pytest.approx(1, abs=0.12)


def pulled(at: float, share: float) -> float:
    p = (1 - share) / (1 + math.exp(-at)) + share / 2
    return math.log(p / (1 - p)) - at


def test_the_floor_is_what_units_do_not_narrow() -> None:
    draw = rng()
    peculiar = dict(zip((item for item, _, _ in ITEMS), draw.standard_normal(len(ITEMS)), strict=True))
    several = [
        replace(a, shift=a.shift + peculiar[a.item] + 0.05 * draw.standard_normal())
        for a in answers(lambda unit, sign, at: 0.0, units=9)
    ]
    found = confusion(several, rng=rng()).excess
    assert 0.9 < found.floor / ((found.high - found.low) / 2) <= 1
    assert confusion(noisy(0), rng=rng()).excess.floor < 0.2
    assert confusion(answers(lambda unit, sign, at: float(unit) * sign), rng=rng()).excess.floor == pytest.approx(0)


def test_each_vector_has_a_line_of_its_own() -> None:
    found = confusion(answers(lambda unit, sign, at: unit - 0.1 * unit * at), rng=rng())
    assert ends(found.excess) == pytest.approx((0, 0, 0), abs=1e-9)
    assert found.bias.estimate == pytest.approx(4)
    assert found.flattening.estimate == pytest.approx(0.4)
    assert found.bias.low < 3 < 5 < found.bias.high


def test_each_kind_has_lines_of_its_own_and_the_same_weight() -> None:
    first = answers(lambda _, sign, at: 1 - 0.5 * at + sign, kind="words")
    second = [a for a in answers(lambda _, sign, at: -2 + 0.1 * at + 3 * sign, kind="digits") if a.item != "question 0"]
    found = confusion([*first, *second], rng=rng())
    assert found.by_kind["words"].estimate == pytest.approx(1)
    assert found.by_kind["digits"].estimate == pytest.approx(3)
    assert found.excess.estimate == pytest.approx(2)
    assert found.bias.estimate == pytest.approx(-0.5)
    assert found.flattening.estimate == pytest.approx(0.2)
    assert found.missing == 0, "a question may be asked in one kind only"


def test_noticing_is_recovered_with_the_sign_of_each_question() -> None:
    noticed = confusion(answers(lambda _, sign, at: 0.7 - 0.3 * at + sign), rng=rng())
    assert ends(noticed.excess) == pytest.approx((1, 1, 1), abs=1e-9)
    assert noticed.flattening.estimate == pytest.approx(0.3)
    yes = confusion(answers(lambda _, sign, at: 0.7 - 0.3 * at + abs(sign)), rng=rng())
    assert yes.excess.estimate == pytest.approx(2 / 6), "four plain questions, two reversed"


def test_label_assignments_cancel_a_pull_toward_a_label() -> None:
    plain = noisy(1)
    pulled = [
        replace(a, labels=labels, baseline=a.baseline + pull, shift=a.shift + 0.4 * pull)
        for a in plain
        for labels, pull in (("a-b", 2.0), ("b-a", -2.0))
    ]
    expected, found = confusion(plain, rng=rng()), confusion(pulled, rng=rng())
    for name in ("excess", "bias", "flattening"):
        assert ends(getattr(found, name)) == pytest.approx(ends(getattr(expected, name)))
    one_sided = confusion([a for a in pulled if a.sign == 0 or a.labels == "a-b"], rng=rng())
    assert math.isnan(one_sided.excess.estimate), "no question has both assignments"
    assert one_sided.missing == 9 * 6


def test_repeated_answers_are_averaged_over_the_finite_ones() -> None:
    plain = noisy(2)
    repeated = [replace(a, shift=a.shift + more) for a in plain for more in (-0.3, 0.3)]
    lost = [replace(a, shift=math.nan) for a in plain[:50]]
    found = confusion([*lost, *repeated], rng=rng())
    assert ends(found.excess) == pytest.approx(ends(confusion(plain, rng=rng()).excess))
    assert found.missing == 0


@pytest.mark.parametrize("item", ["control 20", "question 5"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_question_that_is_missing_for_one_unit_is_left_out_for_all(item: str, absent: bool) -> None:
    whole = noisy(3)
    lost = [
        replace(a, shift=math.nan) if (a.unit, a.item) == ("unit 4", item) else a
        for a in whole
        if not (absent and (a.unit, a.item) == ("unit 4", item))
    ]
    found = confusion(lost, rng=rng())
    assert replace(found, missing=0) == confusion([a for a in whole if a.item != item], rng=rng())
    assert found.missing == 9


@pytest.mark.parametrize("family", [0, 1])
def test_a_unit_without_answers_does_not_take_the_others_with_it(family: int) -> None:
    whole = noisy(4)
    lost = [replace(a, shift=math.inf) if a.unit == "unit 4" and abs(a.sign) == family else a for a in whole]
    found = confusion(lost, rng=rng())
    assert replace(found, missing=0) == confusion([a for a in whole if a.unit != "unit 4"], rng=rng())
    assert (found.missing, found.excess.units) == (40, 8)


def test_order_and_names_of_kinds_do_not_matter() -> None:
    ordered = [*noisy(5), *noisy(6, kind="digits", labels="0-1"), *noisy(7, kind="digits", labels="1-0")]
    ordered += [*noisy(8), *noisy(9)]  # a third answer of each kind: sums of three depend on their order
    shuffled = [ordered[n] for n in rng(1).permutation(len(ordered))]
    assert confusion(ordered, rng=rng()) == confusion(shuffled, rng=rng())
    assert difference(ordered, ordered[:800], rng=rng()) == difference(shuffled, ordered[799::-1], rng=rng())


def test_randomness_is_the_callers_and_does_not_touch_estimates() -> None:
    differing = answers(lambda unit, sign, at: sign * math.sqrt(unit) + math.sin(unit * at))
    first, again, other = (confusion(differing, rng=rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.excess != other.excess
    assert first.excess.estimate == other.excess.estimate


def test_excess_of_each_unit() -> None:
    shifts = answers(lambda unit, sign, at: 1 - 0.2 * unit * at + unit * sign, units=3)
    lost = [replace(a, shift=math.nan) if a.unit == "unit 2" and a.sign else a for a in shifts]
    assert excess_by_unit(shifts) == pytest.approx({"unit 0": 0, "unit 1": 1, "unit 2": 2})
    assert math.isnan(excess_by_unit(lost)["unit 2"])


# The line


def test_three_outlying_controls_hardly_bend_the_line() -> None:
    whole = noisy(10, spread=0.2)
    about = {"control 00", "control 03", "control 12"}  # all of them always_no, which bends least squares most
    outlying = [replace(a, shift=a.shift + 8) if a.item in about else a for a in whole]
    clean, bent = confusion(whole, rng=rng()), confusion(outlying, rng=rng())
    assert abs(bent.excess.estimate - clean.excess.estimate) < 0.05
    assert abs(bent.bias.estimate - clean.bias.estimate) < 0.05
    assert abs(bent.flattening.estimate - clean.flattening.estimate) < 0.02
    squares = np.polyfit(CONTROLS, np.where([item in about for item, *_ in ITEMS[:34]], 8.0, 0.0), 1)
    assert abs(squares[0]) > 0.1
    assert abs(np.mean(SIGNS * np.polyval(squares, ASKED))) > 0.4, "what least squares would have taken away"


def test_outliers_are_all_but_ignored_where_the_others_agree() -> None:
    shifts = answers(lambda _, sign, at: 1 - 0.2 * at + sign)
    outlying = [replace(a, shift=a.shift + 8) if a.item in {"control 00", "control 20"} else a for a in shifts]
    assert confusion(outlying, rng=rng()).excess.estimate == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_lines_minimise_hubers_loss(seed: int) -> None:
    x = CONTROLS[None] + 0.0
    y = rng(seed).standard_t(2, x.shape) - 0.3 * x
    (line,), (scale,) = robust_lines(x, y)
    assert scale == pytest.approx(
        stats.median_abs_deviation(y - line[0] - line[1] * x, axis=None, center=lambda r, axis: 0.0) / 0.6745, rel=0.25
    )

    def loss(guess: np.ndarray) -> float:
        size = np.abs(y - guess[0] - guess[1] * x) / scale
        return float(np.where(size < 1.345, size**2 / 2, 1.345 * size - 1.345**2 / 2).sum())

    best = optimize.minimize(loss, np.zeros(2), tol=1e-12)
    assert line == pytest.approx(best.x, abs=1e-5)
    assert (_weights((y - line[0] - line[1] * x), np.array([scale])) < 1).any(), "or least squares would pass"


def test_kinds_without_a_line_are_left_out_and_named() -> None:
    good = noisy(11)
    few = [a for a in noisy(12, kind="few") if a.sign or a.item in {"control 00", "control 20"}]
    flat = [a if a.sign else replace(a, baseline=-3.0) for a in noisy(13, kind="flat")]
    single = [a if a.sign or a.item == "control 20" else replace(a, baseline=-3.0) for a in noisy(14, kind="single")]
    unasked = [a for a in noisy(15, kind="unasked") if not a.sign]
    found = confusion([*good, *few, *flat, *single, *unasked], rng=rng())
    assert found.without_line == ("few", "flat", "single", "unasked")
    assert replace(found, without_line=()) == confusion(good, rng=rng())
    none = confusion(flat, rng=rng())
    assert all(math.isnan(value) for value in (*ends(none.excess), *ends(none.bias), none.covered))
    assert (none.excess.units, none.by_kind, none.questions, none.controls) == (0, {}, 0, 0)


def test_three_controls_are_enough_for_a_line() -> None:
    kept = {"control 00", "control 20", "control 30"}
    found = confusion([a for a in answers(lambda _, sign, at: 1 - at + sign) if a.sign or a.item in kept], rng=rng())
    assert ends(found.excess) == pytest.approx((1, 1, 1), abs=1e-9)
    assert found.controls == 3


def test_extrapolation_is_told() -> None:
    extreme = [replace(a, baseline=-9.0) if a.item == "question 0" else a for a in noisy(16)]
    assert confusion(extreme, rng=rng()).covered == pytest.approx(5 / 6)
    extreme = [replace(a, baseline=6.9) if a.item == "question 5" else a for a in extreme]
    found = confusion(extreme, rng=rng())
    assert found.covered == pytest.approx(4 / 6)
    assert found.within_reach == pytest.approx(5 / 6), "6.9 is less than a nat beyond the controls"


# Intervals


def test_too_few_units_or_questions_give_no_interval_rather_than_a_false_one() -> None:
    one = confusion(noisy(17, units=1), rng=rng())
    assert math.isfinite(one.excess.estimate)
    assert all(math.isnan(end) for i in (one.excess, one.bias, one.flattening) for end in (i.low, i.high))
    assert one.excess.units == 1
    single = confusion([a for a in noisy(18) if a.sign == 0 or a.item == "question 0"], rng=rng())
    assert math.isfinite(single.excess.estimate)
    assert math.isnan(single.excess.low)
    assert math.isfinite(single.bias.low), "for which introspection questions do not matter"
    beside = [a for a in noisy(18, kind="digits") if a.sign == 0 or a.item == "question 0"]
    both = confusion([*noisy(18), *beside], rng=rng())
    assert math.isfinite(both.by_kind["words"].low)
    assert math.isnan(both.by_kind["digits"].low)
    assert math.isnan(both.excess.low), "nothing is known about other questions of that kind"
    two = confusion(noisy(19, units=2), rng=rng()).excess
    assert two.low < two.estimate < two.high


def test_units_that_are_alike_leave_the_variance_of_questions() -> None:
    """Held against a jackknife by hand, through the public function."""
    draw = rng(20)
    effects = {item: 0.5 * draw.standard_normal() for item, *_ in ITEMS}
    alike = [replace(a, shift=effects[a.item]) for a in noisy(0)]
    found = confusion(alike, rng=rng())
    variance = {}
    for family in ("control", "question"):
        names = [item for item, *_ in ITEMS if item.startswith(family)]
        without = [confusion([a for a in alike if a.item != name], rng=rng()).excess.estimate for name in names]
        variance[family] = (len(names) - 1) * np.var(without)
    reach = math.sqrt(sum(stats.t.ppf(0.975, f) ** 2 * variance[n] for n, f in (("control", 32), ("question", 5))))
    assert found.excess.high - found.excess.estimate == pytest.approx(reach, rel=0.03)
    assert found.excess.estimate - found.excess.low == pytest.approx(reach, rel=0.03)


def test_units_that_differ_leave_their_own_interval() -> None:
    """Questions agree within each unit, so that only units vary."""
    values = rng(21).exponential(size=9)
    found = confusion(answers(lambda unit, sign, at: sign * values[unit]), rng=rng()).excess
    half = stats.t.ppf(0.975, 8) * values.std(ddof=1) / 3
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate > found.estimate - found.low, "the interval is skewed as the units are"
    assert 0.7 * half < found.estimate - found.low < found.high - found.estimate < 3 * half


def test_what_a_question_does_to_both_populations_cancels() -> None:
    draw = rng(22)
    effects = {item: draw.standard_normal() for item, *_ in ITEMS}
    concept = [replace(a, shift=a.shift + a.sign + effects[a.item]) for a in noisy(23, spread=0.05)]
    random = [replace(a, shift=a.shift + 0.25 * a.sign + effects[a.item]) for a in noisy(24, units=3, spread=0.05)]
    found = difference(concept, random, rng=rng())
    assert found.low < 0.75 < found.high
    assert found.units == 3
    alone = confusion(concept, rng=rng()).excess
    assert 4 * (found.high - found.low) < alone.high - alone.low
    assert found.estimate == pytest.approx(alone.estimate - confusion(random, rng=rng()).excess.estimate)


def test_difference_is_of_the_same_questions() -> None:
    first, second = noisy(25), noisy(26, units=4)
    cut = [a for a in second if a.item not in {"question 1", "control 30"}]
    expected = difference([a for a in first if a.item not in {"question 1", "control 30"}], cut, rng=rng())
    assert difference(first, cut, rng=rng()) == expected
    other = noisy(27, kind="digits")
    assert difference([*first, *other], second, rng=rng()) == difference(first, second, rng=rng())


def test_difference_without_units_or_with_one() -> None:
    whole = noisy(28)
    assert all(math.isnan(end) for end in ends(difference(whole, [], rng=rng())))
    assert all(math.isnan(end) for end in ends(difference([], [], rng=rng())))
    single = difference(whole, noisy(29, units=1), rng=rng())
    assert math.isfinite(single.estimate)
    assert math.isnan(single.low)
    assert single.units == 1


def test_nothing_asked_is_nothing_found() -> None:
    found = confusion([], rng=rng())
    assert math.isnan(found.excess.estimate)
    assert (found.excess.units, found.questions, found.controls, found.missing) == (0, 0, 0, 0)


@pytest.mark.parametrize("signs", [(2.0, 2.0), (math.nan, math.nan), (1.0, -1.0), (0.0, 1.0)])
def test_signs_that_cannot_be_are_refused(signs: Sequence[float]) -> None:
    wrong = [Answer(f"unit {n}", "odd", "words", "a-b", sign, 0.0, 0.0) for n, sign in enumerate(signs)]
    with pytest.raises(ValueError, match="'odd'"):
        confusion([*noisy(30), *wrong], rng=rng())


# Invariances

seeds = st.integers(0, 10_000)
amounts = st.floats(-5, 5)


def close(found: Interval, expected: Interval, move: float = 0.0) -> bool:
    return np.allclose(ends(found), np.array(ends(expected)) + move, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 6), st.floats(0.01, 2), amounts, amounts)
def test_a_line_added_to_every_shift_changes_bias_and_flattening_alone(
    seed: int, units: int, spread: float, up: float, flat: float
) -> None:
    plain = noisy(seed, units, spread)
    added = [replace(a, shift=a.shift + up - flat * a.baseline) for a in plain]
    expected, found = (confusion(a, rng=rng(), resamples=200) for a in (plain, added))
    assert close(found.excess, expected.excess)
    assert close(found.bias, expected.bias, up)
    assert close(found.flattening, expected.flattening, flat)


@settings(deadline=None, max_examples=25)
@given(seeds, amounts, st.floats(0.01, 100))
def test_noticing_more_and_other_units_of_measurement(seed: int, more: float, factor: float) -> None:
    plain = noisy(seed)
    expected = confusion(plain, rng=rng(), resamples=200)
    found = confusion([replace(a, shift=a.shift + more * a.sign) for a in plain], rng=rng(), resamples=200)
    assert close(found.excess, expected.excess, more)
    assert close(found.bias, expected.bias)
    scaled = confusion([replace(a, shift=a.shift * factor) for a in plain], rng=rng(), resamples=200)
    assert np.allclose(np.array(ends(scaled.excess)) / factor, ends(expected.excess), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_asking_everything_the_other_way_round_changes_the_sign_of_the_bias_alone(seed: int) -> None:
    plain = noisy(seed)
    turned = [replace(a, sign=-a.sign, baseline=-a.baseline, shift=-a.shift) for a in plain]
    expected, found = (confusion(a, rng=rng(), resamples=200) for a in (plain, turned))
    assert close(found.excess, expected.excess)
    assert close(found.flattening, expected.flattening)
    assert found.bias.estimate == pytest.approx(-expected.bias.estimate, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(2, 4), amounts)
def test_differences_turn_around(seed: int, units: int, more: float) -> None:
    """With fewer than five units the interval is symmetric, so that it turns as well."""
    first, second = noisy(seed, 4), noisy(seed + 1, units)
    second = [replace(a, shift=a.shift + more * a.sign) for a in second]
    there, back = difference(first, second, rng=rng()), difference(second, first, rng=rng())
    assert np.allclose(ends(there), [-end for end in ends(back)[::-1]])
    assert there.estimate == pytest.approx(difference(first, noisy(seed + 1, units), rng=rng()).estimate - more)


# Coverage

SIMULATIONS = 500
SPREADS = {"units": (1.0, 0.2, 0.3), "questions": (0.1, 0.6, 0.2), "noise": (0.1, 0.1, 0.5)}
EFFECTS = [(1.0, 0.0, 0.0), (0.0, 0.4, 0.0), (1.0, 0.4, 0.0), (0.5, 0.2, 1.0)]
"""Bias, flattening, noticed."""

SALIENT = [f"salience {number}" for number in range(8)]


class World:
    """Questions, and populations of vectors that meet them: effects of units, of questions, and of both together."""

    def __init__(self, draw: np.random.Generator, spread: float, salient: int = 0) -> None:
        self.draw = draw
        ranges = ((-6, -2, 14), (2, 6, 12), (-1.5, 1.5, 8), (-5, -1, 4), (1, 5, 2), (-4, 1, salient))
        self.items = [*(item for item, *_ in ITEMS), *SALIENT[:salient]]
        self.signs = np.concatenate([np.zeros(34), SIGNS, np.resize([1.0, -1.0], salient)])
        self.at = np.concatenate([draw.uniform(*span) for span in ranges])
        self.at[40:] *= self.signs[40:]
        self.shared = spread * draw.standard_normal(len(self.items))

    def answers(
        self, of_units: np.ndarray, noise: float, effect: tuple[float, float, float], own: float = 0.0
    ) -> list[Answer]:
        bias, flattening, noticed = effect
        count = len(of_units)
        vary = 1 + 0.3 * self.draw.standard_normal((2, count, 1))
        shifts = bias * vary[0] - flattening * vary[1] * self.at + self.signs * (noticed + of_units[:, None])
        size = len(self.items)
        shifts += self.shared + own * self.draw.standard_normal(size) + noise * self.draw.standard_normal((count, size))
        return [
            Answer(f"unit {unit}", item, "words", "a-b", sign, at, shift)
            for unit in range(count)
            for item, sign, at, shift in zip(
                self.items, self.signs.tolist(), self.at.tolist(), shifts[unit].tolist(), strict=True
            )
        ]


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("spread", SPREADS)
def test_intervals_cover_the_truth(spread: str) -> None:
    """Effects take turns: what they add are lines and a constant, with which an interval moves exactly (see above)."""
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(40)
    held = []
    for number in range(2 * SIMULATIONS):
        bias, flattening, noticed = EFFECTS[number % len(EFFECTS)]
        world = World(draw, of_questions)
        shifted = world.answers(of_units * draw.standard_normal(9), noise, (bias, flattening, noticed))
        found = confusion(shifted, rng=draw, resamples=300)
        held.append((covers(found.excess, noticed), covers(found.bias, bias), covers(found.flattening, flattening)))
    coverage = np.mean(held, axis=0)
    assert 0.92 <= coverage.min() <= coverage.max() <= 0.98, coverage


def test_interval_of_skewed_units_covers_the_truth() -> None:
    """A few vectors that are noticed more than the others; a symmetric interval covers 90-92%."""
    draw = rng(41)
    held = []
    for _ in range(SIMULATIONS):
        world = World(draw, 0.2)
        found = confusion(world.answers(draw.exponential(size=9), 0.3, (0.5, 0.2, 0.0)), rng=draw, resamples=300)
        held.append(covers(found.excess, 1.0))
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("second_units", "spread"), [(9, "questions"), (3, "units")])
def test_interval_of_two_populations_covers_the_truth(second_units: int, spread: str) -> None:
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(42)
    held = []
    for _ in range(SIMULATIONS):
        world = World(draw, of_questions)
        concept, random = (of_units * draw.standard_normal(size) for size in (9, second_units))
        first = world.answers(concept, noise, (1.0, 0.4, 1.0), own=of_questions / 3)
        second = world.answers(random, noise, (0.5, 0.1, 0.3), own=of_questions / 3)
        held.append(covers(difference(first, second, rng=draw, resamples=300), 0.7))
    assert 0.92 <= np.mean(held) <= 0.98


# Some questions beyond others


def split(found: Sequence[Answer], others: Sequence[str]) -> tuple[list[Answer], list[Answer], list[Answer]]:
    """Questions with a side that are not among the others, the others, and controls."""
    return (
        [a for a in found if a.sign and a.item not in others],
        [a for a in found if a.item in others],
        [a for a in found if not a.sign],
    )


def test_questions_beyond_others_are_exact_on_planted_data() -> None:
    others = ["question 0", "question 1", "question 4"]
    own, salience, controls = split(answers(lambda unit, sign, at: 1 - 0.3 * at + sign * (1 + 0.1 * unit)), others)
    less = [replace(a, shift=a.shift - 0.75 * a.sign) for a in salience]
    assert ends(beyond(own, salience, controls, rng=rng())) == pytest.approx((0, 0, 0), abs=1e-9)
    assert ends(beyond(own, less, controls, rng=rng())) == pytest.approx((0.75,) * 3, abs=1e-9)
    assert ends(beyond(less, own, controls, rng=rng())) == pytest.approx((-0.75,) * 3, abs=1e-9)
    digits = [replace(a, kind="digits", shift=99.0) for a in own]  # not asked of the others
    assert beyond([*own, *digits], less, controls, rng=rng()).estimate == pytest.approx(0.75)


def test_nothing_is_beyond_what_was_not_asked() -> None:
    own, salience, controls = split(noisy(0), ["question 0", "question 1"])
    for missing in ((own, [], controls), ([], salience, controls), (own, salience, [])):
        assert math.isnan(beyond(*missing, rng=rng()).estimate)
    one = beyond(own, salience[::2], controls, rng=rng())  # every second answer: one of the two questions
    assert math.isfinite(one.estimate)
    assert math.isnan(one.low)


def test_a_unit_without_answers_on_one_side_is_left_out_of_both() -> None:
    own, salience, controls = split(noisy(31), ["question 0", "question 1", "question 4"])
    fewer = [beyond(*([a for a in side if a.unit != "unit 4"] for side in (own, salience, controls)), rng=rng())]
    fewer.append(beyond(own, [a for a in salience if a.unit != "unit 4"], controls, rng=rng()))
    lost = [replace(a, shift=math.nan) if a.unit == "unit 4" else a for a in own]
    fewer.append(beyond(lost, salience, controls, rng=rng()))
    assert fewer[0] == fewer[1] == fewer[2]
    assert fewer[0].units == 8


def test_sides_are_paired_by_unit_and_share_what_a_control_question_does() -> None:
    """What is common to both sides cancels: how much a unit is moved, and where its line lies."""
    draw = rng(32)
    bent = {item: 2 * draw.standard_normal() for item, sign, _ in ITEMS if not sign}
    shifted = answers(lambda unit, sign, at: sign * unit)
    shifted = [replace(a, shift=a.shift + bent.get(a.item, 0.0)) for a in shifted]
    alike = [replace(a, item=f"other {a.item}", shift=a.shift - 0.5 * a.sign) for a in shifted if a.sign]
    own, _, controls = split(shifted, [])
    found, alone = beyond(own, alike, controls, rng=rng()), confusion(shifted, rng=rng()).excess
    assert found.estimate == pytest.approx(0.5)
    assert 4 * (found.high - found.low) < alone.high - alone.low, "what is left are the questions of both sides"


@pytest.mark.parametrize("spread", SPREADS)
def test_interval_of_what_is_beyond_others_covers_the_truth(spread: str) -> None:
    of_units, of_questions, noise = SPREADS[spread]
    draw = rng(43)
    held = []
    for _ in range(SIMULATIONS):
        world = World(draw, of_questions, salient=len(SALIENT))
        # Units that are noticed more are noticed more in both: they are paired.
        shifted = world.answers(of_units * draw.standard_normal(9), noise, (0.5, 0.3, 0.4))
        own, salience, controls = split(shifted, SALIENT)
        each = dict(zip(sorted({a.unit for a in own}), of_units / 2 * draw.standard_normal(9), strict=True))
        more = [replace(a, shift=a.shift + a.sign * (0.7 + each[a.unit])) for a in own]
        salient = confusion([*salience, *controls], rng=draw, resamples=300).excess
        held.append((covers(beyond(more, salience, controls, rng=draw, resamples=300), 0.7), covers(salient, 0.4)))
    coverage = np.mean(held, axis=0)
    assert 0.92 <= coverage.min() <= coverage.max() <= 0.98, coverage
