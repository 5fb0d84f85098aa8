"""Verdicts: each rung of the ladder from the intervals that call for it, and how many concepts would settle it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introbench.analysis.verdict import MARGIN, NOT_MEASURED, VERDICTS, Evidence, verdict
from introbench.stats.intervals import Interval, mean_interval
from introbench.stats.power import concepts_needed

NONE = Interval(0.0, -0.1, 0.1, 9)
WIDE = Interval(0.3, -0.9, 1.5, 9)
LARGE = Interval(2.0, 1.5, 2.5, 9)
TRACKS = {"excess": LARGE, "beyond_random": LARGE}


def evidence(**numbers: object) -> Evidence:
    usual = {
        "live": 9,
        "tested": 9,
        "excess": NONE,
        "random": NONE,
        "beyond_random": NONE,
        "bias": NONE,
        "baseline": 2.0,
        "salience_asked": "salience" in numbers,
    }
    return Evidence(**{**usual, "flattening": NONE, "document": NONE, **numbers})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ({}, "no effect"),
        ({"live": 4}, "not live"),
        ({"live": 4, "excess": LARGE, "beyond_random": LARGE}, "not live"),
        ({"excess": LARGE, "beyond_random": LARGE}, "tracks the concept"),
        ({"excess": LARGE, "random": LARGE}, "notices any perturbation"),
        ({"excess": LARGE, "random": Interval(0.2, 0.1, 0.3, 9), "beyond_random": LARGE}, "tracks the concept"),
        ({"excess": LARGE, "random": Interval(1.1, 0.5, 1.7, 9), "beyond_random": Interval(0.9, 0.1, 1.7, 9)},
         "notices any perturbation"),
        ({"excess": LARGE, "random": WIDE, "beyond_random": WIDE}, "inconclusive"),
        ({"excess": LARGE, "random": NOT_MEASURED, "beyond_random": NOT_MEASURED}, "inconclusive"),
        ({"excess": WIDE}, "inconclusive"),
        ({"excess": NOT_MEASURED}, "inconclusive"),
        ({"bias": LARGE}, "yes-bias"),
        ({"bias": Interval(0.3, 0.2, 0.4, 9)}, "no effect"),  # shown to exist, and too small to matter
        ({"bias": Interval(0.9, -0.1, 1.9, 9)}, "no effect"),  # large, and not shown to exist
        ({"flattening": Interval(0.4, 0.3, 0.5, 9)}, "flattening"),
        ({"flattening": Interval(0.4, 0.3, 0.5, 9), "baseline": 0.5}, "no effect"),
        ({"flattening": Interval(0.4, 0.3, 0.5, 9), "bias": LARGE}, "yes-bias"),
        ({"flattening": Interval(0.4, 0.3, 0.5, 9), "bias": LARGE, "baseline": 9.0}, "flattening"),
        ({"document": LARGE}, "document alone"),
        ({"document": LARGE, "excess": LARGE, "beyond_random": LARGE}, "tracks the concept"),
        ({"bias": LARGE, "excess": LARGE, "beyond_random": LARGE}, "tracks the concept"),
        ({"excess": Interval(-1.0, -1.5, -0.5, 9)}, "moves the other way"),
        ({"excess": Interval(-0.3, -0.4, -0.2, 9)}, "no effect"),
        ({"excess": Interval(-0.4, -0.6, -0.2, 9)}, "inconclusive"),  # a part of it lies beyond the margin
        ({"excess": Interval(-0.6, -1.4, 0.2, 9)}, "inconclusive"),
        ({"excess": Interval(-1.0, -1.5, -0.5, 9), "bias": LARGE}, "yes-bias"),
        ({"bias": Interval(-2.0, -2.5, -1.5, 9)}, "no-bias"),
        ({"flattening": Interval(-0.4, -0.5, -0.3, 9)}, "sharpening"),
        ({"document": Interval(-2.0, -2.5, -1.5, 9)}, "no effect"),
        ({**TRACKS, "within_reach": 0.4}, "inconclusive"),
        ({**TRACKS, "over_pull": 0.9}, "inconclusive"),
        ({**TRACKS, "within_reach": 0.5, "over_pull": 1.1}, "tracks the concept"),
        ({"within_reach": 0.0, "over_pull": -1.0}, "no effect"),  # where nothing is claimed, the line need not hold
        ({"live": 0, "tested": 0}, "no effect"),
        ({**TRACKS, "salience": NONE, "beyond_salience": LARGE}, "tracks the concept"),
        ({**TRACKS, "salience": LARGE, "beyond_salience": NONE}, "reads salience"),
        ({**TRACKS, "salience": Interval(1.1, 0.5, 1.7, 9), "beyond_salience": Interval(0.9, 0.1, 1.7, 9)},
         "reads salience"),
        ({**TRACKS, "salience": Interval(0.5, 0.2, 0.8, 9), "beyond_salience": LARGE}, "tracks the concept"),
        ({**TRACKS, "salience": WIDE, "beyond_salience": WIDE}, "inconclusive"),
        ({**TRACKS, "salience": NONE, "beyond_salience": NONE}, "inconclusive"),  # it is other formats that move
        ({**TRACKS, "salience": WIDE, "beyond_salience": LARGE}, "tracks the concept"),
        ({**TRACKS, "salience": Interval(0.5, 0.2, 0.8, 9), "beyond_salience": NONE}, "reads salience"),
        ({**TRACKS, "salience": Interval(0.5, 0.2, 0.8, 9), "beyond_salience": WIDE}, "reads salience"),
        ({**TRACKS, "salience": Interval(0.5, math.nan, math.nan, 9), "beyond_salience": NOT_MEASURED}, "inconclusive"),
        ({**TRACKS, "salience": NOT_MEASURED}, "inconclusive"),  # asked, and its answers were lost
        ({"excess": LARGE, "salience": LARGE}, "inconclusive"),  # random vectors come first
        ({"live": 4, **TRACKS, "salience": LARGE}, "not live"),
        ({"excess": LARGE, "salience": LARGE, "random": LARGE}, "notices any perturbation"),
        ({"salience": LARGE}, "no effect"),  # it may read what stands out: that is not what is asked
    ],
)  # fmt: skip
def test_each_rung_is_reached_by_what_calls_for_it(numbers: dict[str, object], name: str) -> None:
    found = verdict(evidence(**numbers))
    assert found.name == name
    assert bool(found.settle) == (name == "inconclusive")
    assert len(found.steps) == 9, "every step is shown, whatever the verdict"


_MEASURED = ("excess", "random", "beyond_random", "bias", "flattening", "document")
_intervals = st.builds(
    lambda centre, reach: Interval(centre, centre - reach, centre + reach, 9),
    st.floats(-5, 5),
    st.floats(0, 5) | st.just(math.nan),
)


@given(
    numbers=st.fixed_dictionaries(
        dict.fromkeys([*_MEASURED, "salience", "beyond_salience"], _intervals)
        | {"live": st.integers(0, 9), "baseline": st.floats(0, 9)}
    ),
    margin=st.floats(0.01, 3),
)
def test_any_evidence_has_one_verdict_and_no_claim_without_an_interval(numbers: dict, margin: float) -> None:
    found = verdict(evidence(**numbers), margin)
    assert found.name in VERDICTS
    if found.name in ("tracks the concept", "notices any perturbation"):
        assert numbers["excess"].low > 0
    if found.name == "tracks the concept":
        assert numbers["beyond_random"].low > 0
        assert numbers["beyond_salience"].low > 0
    if found.name == "no effect":
        assert -margin < numbers["excess"].low
        assert numbers["excess"].high < margin
    assert all(step.answer in ("yes", "no", "unclear") for step in found.steps)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_so_many_concepts_show_an_effect_of_the_margin_in_four_runs_of_five(spread: float) -> None:
    draw = np.random.default_rng(0)
    needed = [concepts_needed(mean_interval(spread * draw.standard_normal(9), rng=draw), MARGIN) for _ in range(200)]
    count = int(np.median(needed))
    shown = [
        mean_interval(MARGIN + spread * draw.standard_normal(count), resamples=1000, rng=draw).low > 0
        for _ in range(400)
    ]
    assert 0.68 < np.mean(shown) < 0.95


def test_where_questions_differ_too_much_no_number_of_concepts_is_promised() -> None:
    wide = Interval(0.9, -0.1, 1.9, 9, floor=0.3)
    assert (concepts_needed(wide, MARGIN) or 0) > (concepts_needed(Interval(0.9, -0.1, 1.9, 9), MARGIN) or 0) > 9
    bound = Interval(0.9, -0.1, 1.9, 9, floor=0.9)
    assert concepts_needed(bound, MARGIN) is None
    assert "ask more of them" in verdict(evidence(excess=bound)).settle


def test_the_step_about_salience_says_what_the_verdict_rests_on() -> None:
    def step(**numbers: object) -> tuple[str, str]:
        found = verdict(evidence(**TRACKS, **numbers))
        (asked,) = [each for each in found.steps if "stands out" in each.question]
        return asked.answer, asked.numbers

    assert step() == ("unclear", "difference not measured, excess of those not measured")
    assert step(salience=LARGE, beyond_salience=WIDE)[0] == "no"
    assert step(salience=NONE, beyond_salience=NONE)[0] == "no"
    assert step(salience=NONE, beyond_salience=WIDE)[0] == "unclear"
    shown = "difference +2.000 [+1.500, +2.500] nats, excess of those +0.000 [-0.100, +0.100] nats"
    assert step(salience=NONE, beyond_salience=LARGE) == ("yes", shown)
    assert "beyond what stands out" in verdict(evidence(**TRACKS, salience=WIDE, beyond_salience=WIDE)).settle


def test_without_a_line_it_is_unclear_whether_it_holds() -> None:
    found = verdict(evidence(excess=NOT_MEASURED, within_reach=math.nan))
    (step,) = [each for each in found.steps if each.question.startswith("Does the line")]
    assert step.answer == "unclear"


def test_without_an_interval_nothing_can_be_scaled() -> None:
    assert concepts_needed(NOT_MEASURED, MARGIN) == 0
    assert "run at least two concepts" in verdict(evidence(excess=NOT_MEASURED)).settle
    assert "concepts instead of 9" in verdict(evidence(excess=WIDE)).settle
