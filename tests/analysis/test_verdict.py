"""Verdicts: each rung of the ladder from the intervals that call for it, and what would settle the others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introbench.analysis.verdict import (
    MARGIN,
    VERDICTS,
    Evidence,
    Need,
    Settlement,
    Step,
    StepName,
    Verdict,
    verdict,
)
from introbench.stats.intervals import NOT_MEASURED, Interval
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
    drawn = verdict(evidence(**numbers))
    assert drawn.name == name
    assert (drawn.settlement is not None) == (name == "inconclusive")
    assert [step.name for step in drawn.steps] == list(StepName), "every step is there, whatever the verdict"


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
    drawn = verdict(evidence(**numbers), margin)
    assert drawn.name in VERDICTS
    if drawn.name in ("tracks the concept", "notices any perturbation"):
        assert numbers["excess"].low > 0
    if drawn.name == "tracks the concept":
        assert numbers["beyond_random"].low > 0
        assert numbers["beyond_salience"].low > 0
    if drawn.name == "no effect":
        assert -margin < numbers["excess"].low
        assert numbers["excess"].high < margin
    assert all(step.answer in ("yes", "no", "unclear") for step in drawn.steps)


def step_of(drawn: Verdict, name: StepName) -> Step:
    (step,) = [step for step in drawn.steps if step.name == name]
    return step


def test_the_step_about_salience_says_what_the_verdict_rests_on() -> None:
    def answer(**numbers: object) -> str:
        return step_of(verdict(evidence(**TRACKS, **numbers)), StepName.BEYOND_SALIENCE).answer

    assert answer() == "unclear"
    assert answer(salience=LARGE, beyond_salience=WIDE) == "no"
    assert answer(salience=NONE, beyond_salience=NONE) == "no"
    assert answer(salience=NONE, beyond_salience=WIDE) == "unclear"
    assert answer(salience=NONE, beyond_salience=LARGE) == "yes"


def test_steps_hold_the_numbers_that_they_rest_on() -> None:
    given = evidence(**TRACKS, within_reach=0.8, over_pull=1.5, salience=NONE, beyond_salience=WIDE)
    drawn = verdict(given, margin=0.7)
    numbers = {step.name: step.numbers for step in drawn.steps if step.numbers}
    assert numbers == {
        StepName.LIVE: {"live": 9, "tested": 9},
        StepName.EXCESS: {"margin": 0.7},
        StepName.LINE: {"within_reach": 0.8, "over_pull": 1.5},
        StepName.FLATTENING: {"baseline": 2.0},
    }
    intervals = [(name, interval) for step in drawn.steps for name, interval in step.intervals.items()]
    assert all(interval is getattr(given, name) for name, interval in intervals)
    assert len(intervals) == 8, "every interval of the evidence stands in one step"


def test_without_a_line_it_is_unclear_whether_it_holds() -> None:
    drawn = verdict(evidence(excess=NOT_MEASURED, within_reach=math.nan))
    assert step_of(drawn, StepName.LINE).answer == "unclear"


BOUND = Interval(0.9, -0.1, 1.9, 9, floor=0.9)
NARROW = Interval(0.3, -0.1, 0.7, 9)


@pytest.mark.parametrize(
    ("numbers", "settlement"),
    [
        ({**TRACKS, "within_reach": 0.4}, Settlement(Need.CONTROL_QUESTIONS, "", MARGIN)),
        ({"excess": BOUND}, Settlement(Need.QUESTIONS, "excess", MARGIN, 9, None)),
        ({"excess": NOT_MEASURED}, Settlement(Need.INTERVAL, "excess", MARGIN, 0, 0)),
        ({"excess": NARROW}, Settlement(Need.CONCEPTS, "excess", MARGIN, 9, concepts_needed(NARROW, MARGIN))),
        (
            {"excess": Interval(0.33, -0.01, 0.67, 90)},
            Settlement(Need.MARGIN, "excess", MARGIN, 90, concepts_needed(Interval(0.33, -0.01, 0.67, 90), MARGIN)),
        ),
        (
            {"excess": LARGE, "beyond_random": WIDE},
            Settlement(Need.CONCEPTS, "beyond_random", MARGIN, 9, concepts_needed(WIDE, MARGIN)),
        ),
        (
            {**TRACKS, "salience": WIDE, "beyond_salience": WIDE},
            Settlement(Need.CONCEPTS, "beyond_salience", MARGIN, 9, concepts_needed(WIDE, MARGIN)),
        ),
    ],
)
def test_an_inconclusive_verdict_says_what_would_settle_it(numbers: dict[str, object], settlement: Settlement) -> None:
    drawn = verdict(evidence(**numbers))
    assert drawn.name == "inconclusive"
    assert drawn.settlement == settlement
