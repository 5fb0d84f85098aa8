"""Verdicts: each rung of the ladder from the intervals that call for it, and what keeps a run from having one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_evidence import (
    HALF,
    INWARD,
    LARGE,
    LITTLE,
    NEGATIVE,
    NONE,
    POINT,
    SALIENT,
    TRACKING,
    WIDE,
    evidence,
    interval,
)

from introbench.analysis.evidence import Evidence
from introbench.analysis.verdict import (
    EQUAL_DOSE,
    INTROSPECTIVE,
    MOSTLY_NEAR,
    TRACKS,
    TRACKS_LITTLE,
    VERDICTS,
    Lack,
    StepAnswer,
    StepName,
    verdict,
)
from introbench.stats.intervals import NOT_MEASURED, Interval


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ({}, "no effect"),
        ({"live": 4}, "not live"),
        ({"live": 4, **TRACKING}, "not live"),
        ({"live": 5, "tested": 10, **TRACKING}, TRACKS),
        ({"live": 0, "tested": 0, **TRACKING}, TRACKS),
        # tracks, and how much
        (TRACKING, TRACKS),
        ({**TRACKING, "excess": LITTLE}, TRACKS_LITTLE),
        ({**TRACKING, "excess": interval(0.1, 0.499)}, TRACKS_LITTLE),
        ({**TRACKING, "excess": interval(0.1, 0.5)}, TRACKS),
        ({**TRACKING, "excess": interval(0.0, 0.5)}, "inconclusive"),
        ({**TRACKING, "excess": interval(0.0, 0.499)}, "no effect"),
        ({**TRACKING, "excess": WIDE}, "inconclusive"),
        # random vectors
        ({**TRACKING, **HALF}, "notices any perturbation"),
        ({**TRACKING, "random": LITTLE}, TRACKS),
        ({**TRACKING, "random": LITTLE, "random_beyond_half": WIDE}, "inconclusive"),
        ({**TRACKING, "random": NONE, "random_beyond_half": LARGE}, "inconclusive"),
        ({**TRACKING, "random_beyond_half": interval(-1.0, 0.0)}, "inconclusive"),
        ({**TRACKING, "beyond_random": WIDE}, "inconclusive"),
        ({**TRACKING, "beyond_random": interval(0.0, 1.0)}, "inconclusive"),
        ({"excess": LARGE, "random_beyond_half": NOT_MEASURED, "beyond_random": NOT_MEASURED}, "inconclusive"),
        ({**HALF, "excess": NONE}, "no effect"),  # nothing is noticed of the concepts' vectors
        # their doses
        ({**TRACKING, "dose_ratio": 0.949}, "inconclusive"),
        ({**TRACKING, "dose_ratio": 1.051}, "inconclusive"),
        ({**TRACKING, "dose_ratio": 0.951}, TRACKS),
        ({**TRACKING, "dose_ratio": 1.049}, TRACKS),
        ({**TRACKING, "dose_ratio": math.nan}, "inconclusive"),
        ({**TRACKING, **HALF, "dose_ratio": 0.5}, "notices any perturbation"),  # by a smaller dose even
        ({"dose_ratio": 0.5}, "no effect"),
        # control questions near
        ({**TRACKING, "near": MOSTLY_NEAR}, TRACKS),
        ({**TRACKING, "near": 0.74}, "inconclusive"),
        ({**TRACKING, "near": math.nan}, "inconclusive"),
        ({"near": 0.0}, "no effect"),  # where nothing is claimed, the curve need not hold
        # what stands out
        (INWARD, TRACKS),
        ({**INWARD, "excess": LITTLE}, TRACKS_LITTLE),
        ({**INWARD, **SALIENT}, "reads salience"),
        ({**INWARD, "salience": LITTLE}, TRACKS),
        ({**INWARD, "salience_beyond_half": WIDE}, "inconclusive"),
        ({**INWARD, "salience_beyond_half": NOT_MEASURED}, "inconclusive"),  # asked, and its answers were lost
        ({**INWARD, "salience": NONE, "salience_beyond_half": LARGE}, "inconclusive"),
        ({**INWARD, "beyond_salience": WIDE}, "inconclusive"),
        ({**INWARD, "beyond_salience": NOT_MEASURED}, "inconclusive"),
        ({**INWARD, "salience_near": MOSTLY_NEAR}, TRACKS),
        ({**INWARD, "salience_near": 0.74}, "inconclusive"),
        ({**INWARD, "salience_near": math.nan}, "inconclusive"),
        ({**INWARD, **SALIENT, "salience_near": 0.0}, "reads salience"),  # shown, although questions are far
        ({**INWARD, **SALIENT, **HALF}, "notices any perturbation"),
        ({**INWARD, **SALIENT, "beyond_random": WIDE}, "inconclusive"),  # random vectors come first
        ({**INWARD, **SALIENT, "dose_ratio": 0.5}, "inconclusive"),
        ({**SALIENT}, "no effect"),  # it may read what stands out: that is not what is asked
        ({**INWARD, **SALIENT, "live": 4}, "not live"),
        # the other way
        ({"excess": NEGATIVE}, "moves the other way"),
        ({"excess": interval(-1.0, -0.501), "bias": LARGE, "document": LARGE}, "moves the other way"),
        ({"excess": interval(-1.0, -0.5)}, "inconclusive"),
        ({"excess": interval(-1.0, -0.5), "bias": LARGE}, "yes-bias"),
        ({"excess": interval(-0.4, -0.2)}, "no effect"),
        ({"excess": interval(-0.6, -0.2)}, "inconclusive"),
        ({"excess": NEGATIVE, "live": 4}, "not live"),
        # what else moves answers
        ({"bias": LARGE}, "yes-bias"),
        ({"bias": interval(-2.5, -1.5)}, "no-bias"),
        ({"bias": interval(0.2, 0.4)}, "no effect"),  # shown to exist, and too small to matter
        ({"bias": interval(-0.1, 1.9)}, "no effect"),  # large, and not shown to exist
        ({"flattening": interval(0.3, 0.5)}, "flattening"),
        ({"flattening": interval(-0.5, -0.3)}, "sharpening"),
        ({"flattening": interval(0.3, 0.5), "baseline": 0.5}, "no effect"),
        ({"flattening": interval(0.3, 0.5), "bias": LARGE}, "yes-bias"),
        ({"flattening": interval(0.3, 0.5), "bias": LARGE, "baseline": 9.0}, "flattening"),
        ({"document": LARGE}, "document alone"),
        ({"document": interval(-2.5, -1.5)}, "no effect"),
        ({"document": LARGE, "bias": LARGE, "excess": WIDE}, "inconclusive"),  # the excess may be large as well
        ({"document": LARGE, "bias": LARGE, **TRACKING}, TRACKS),
        ({"document": LARGE, "bias": LARGE, **TRACKING, "beyond_random": WIDE}, "inconclusive"),
    ],
)  # fmt: skip
def test_each_rung_is_reached_by_what_calls_for_it(numbers: dict[str, object], name: str) -> None:
    drawn = verdict(evidence(**numbers))
    assert drawn.name == name
    assert drawn.lack is None
    assert [step.name for step in drawn.steps] == list(StepName), "what was not asked is a row, too"


def test_the_margin_is_the_users() -> None:
    numbers = evidence(**TRACKING | {"excess": LITTLE})
    assert verdict(numbers, 0.2).name == TRACKS
    assert verdict(numbers, 0.31).name == TRACKS_LITTLE
    assert verdict(evidence(), 0.05).name == "inconclusive"
    assert verdict(evidence(excess=NEGATIVE), 0.7).name == "inconclusive"


# Lacks


@pytest.mark.parametrize(
    ("numbers", "lack"),
    [
        ({"controls_planned": 0, "concepts": 1, "questions": 1}, Lack.CONTROLS),
        ({"controls_planned": 2, "concepts": 1, "questions": 1}, Lack.FEW_CONTROLS),
        ({"concepts": 1, "questions": 1}, Lack.ONE_CONCEPT),
        ({"questions": 1}, Lack.ONE_QUESTION),
        ({"controls_planned": 3, "concepts": 2, "questions": 2}, Lack.NOTHING_SHARED),
    ],
)
@pytest.mark.parametrize("excess", [NOT_MEASURED, POINT])
@pytest.mark.parametrize("more", [{}, {"live": 4}, {"bias": LARGE, "document": LARGE}])
def test_what_a_run_lacks_is_said_in_place_of_a_verdict(
    numbers: dict[str, object], lack: Lack, excess: Interval, more: dict[str, object]
) -> None:
    drawn = verdict(evidence(**{**TRACKING, **more, **numbers, "excess": excess}))
    assert (drawn.name, drawn.lack) == ("inconclusive", lack)
    assert verdict(evidence(**{**TRACKING, **numbers})).lack is None, "with an interval there is enough"


# Any evidence

_SHARES = st.floats(0, 1) | st.just(math.nan)
_INTERVALS = st.builds(
    lambda centre, reach: Interval(centre, centre - reach, centre + reach, 9),
    st.sampled_from([-2.0, -0.6, -0.2, 0.0, 0.2, 0.6, 2.0]) | st.floats(-5, 5),
    st.sampled_from([0.05, 0.3]) | st.floats(0, 5) | st.just(math.nan),
)
_MEASURED = ("excess", "random", "beyond_random", "random_beyond_half", "bias", "flattening", "document")
_SALIENCE = ("salience", "beyond_salience", "salience_beyond_half")


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Any evidence; half of it is near that of a model that tracks the concept."""
    numbers = draw(
        st.fixed_dictionaries(
            dict.fromkeys([*_MEASURED, *_SALIENCE], _INTERVALS)
            | {"live": st.integers(0, 9), "baseline": st.floats(0, 9), "salience_asked": st.booleans()}
            | {"near": _SHARES, "salience_near": _SHARES, "dose_ratio": st.floats(0.5, 2) | st.just(math.nan)}
        )
    )
    if draw(st.booleans()):
        replaced = draw(st.sets(st.sampled_from([*numbers]), max_size=2))
        usual = vars(evidence(**INWARD))
        numbers = {name: value if name in replaced else usual[name] for name, value in numbers.items()}
    return evidence(**numbers)


@given(evidences(), st.floats(0.01, 3))
def test_a_verdict_claims_nothing_without_all_that_it_rests_on(given: Evidence, margin: float) -> None:
    drawn = verdict(given, margin)
    assert drawn.name in VERDICTS
    if drawn.name in (*INTROSPECTIVE, "notices any perturbation", "reads salience"):
        assert given.excess.low > 0
        assert 2 * given.live >= given.tested
    if drawn.name in INTROSPECTIVE:
        assert given.beyond_random.low > 0
        assert given.random_beyond_half.high < 0
        assert abs(given.dose_ratio - 1) <= EQUAL_DOSE
        assert given.near >= MOSTLY_NEAR
        if given.salience_asked:
            assert given.beyond_salience.low > 0
            assert given.salience_beyond_half.high < 0
            assert given.salience_near >= MOSTLY_NEAR
        assert (drawn.name == TRACKS_LITTLE) == (given.excess.high < margin)
    if drawn.name == "notices any perturbation":
        assert given.random.low > 0
        assert given.random_beyond_half.low > 0
    if drawn.name == "reads salience":
        assert given.salience.low > 0
        assert given.salience_beyond_half.low > 0
        assert given.beyond_random.low > 0
    if drawn.name == "moves the other way":
        assert given.excess.high < -margin
    if drawn.name == "no effect":
        assert -margin < given.excess.low <= given.excess.high < margin
    if drawn.name in ("yes-bias", "no-bias", "flattening", "sharpening", "document alone"):
        assert given.excess.low <= 0
        assert given.excess.high < margin
    assert (drawn.lack is not None) == math.isnan(given.excess.low)


@given(evidences(), st.floats(0.01, 3))
def test_rows_about_half_say_no_only_where_there_is_no_excess_to_take_half_of(given: Evidence, margin: float) -> None:
    steps = {step.name: step for step in verdict(given, margin).steps}
    of_half = [steps[name] for name in (StepName.RANDOM, StepName.SALIENCE)]
    if given.excess.low > 0:
        assert {step.answer for step in of_half} <= {StepAnswer.HALF, StepAnswer.LESS_THAN_HALF, StepAnswer.OPEN}
    else:
        assert not {step.answer for step in of_half} & {StepAnswer.HALF, StepAnswer.LESS_THAN_HALF}
    for step in steps.values():
        if step.answer is StepAnswer.NO and step.intervals:
            assert all(interval.high < 0 for interval in [step.intervals[step.bound.interval]] if step.bound)
