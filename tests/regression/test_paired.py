"""Paired comparison: differences trial by trial, intervals over concepts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_records import CONCEPTS, record

from introbench.errors import InputError
from introbench.regression.paired import Change, all_changes, changes, changes_table, comparison, worst_trials
from introbench.stats.intervals import Interval


def of(listed: list[Change], name: str) -> Change:
    (change,) = [change for change in listed if change.name == name]
    return change


def test_a_small_shift_is_seen_through_large_differences_between_trials() -> None:
    listed = changes(record(), record(shift=0.2, seed=1, spread=0.05), with_contrasts=True)
    change = of(listed, "introspection")
    assert change.exceeds(0.1)
    assert change.difference.estimate == pytest.approx(0.2, abs=0.05)
    assert change.now - change.before == pytest.approx(change.difference.estimate)
    assert change.pairs == 18
    assert change.difference.units == len(CONCEPTS)
    assert not change.exceeds(0.3)
    # The same push on a control question with the sign of its partner: on the reversed one it is taken away.
    for name, difference in (("always_no", 0.0), ("always_yes", 0.4), ("matched controls", 0.2)):
        assert of(listed, f"introspection - {name}").difference.estimate == pytest.approx(difference, abs=0.1)


def test_what_concepts_share_has_no_interval_and_is_no_gate() -> None:
    for change in changes(record(), record(shift=0.2), "random"):
        assert change.difference.estimate == 0
        assert math.isnan(change.difference.low)
        assert not change.is_known


def test_the_contrast_of_differences_is_the_difference_of_contrasts() -> None:
    first, second = record(), record(shift=0.3, seed=5, spread=1.0)
    for change in changes(first, second, with_contrasts=True):
        assert change.difference.estimate == pytest.approx(change.now - change.before, abs=1e-9)


@settings(deadline=None)
@given(st.floats(-2, 2), st.floats(0.01, 1))
def test_a_change_is_found_on_both_sides_alike(shift: float, budget: float) -> None:
    up, down = changes(record(), record(shift)), changes(record(shift), record())
    for one, other in zip(up, down, strict=True):
        assert one.difference.estimate == pytest.approx(-other.difference.estimate)
        if abs(abs(shift) - budget) > 1e-6:
            assert one.exceeds(budget) == other.exceeds(budget) == (abs(shift) > budget)


@pytest.mark.parametrize(
    ("runs", "least", "most"), [(60, 0.0, 0.09), pytest.param(400, 0.005, 0.045, marks=pytest.mark.slow)]
)
def test_false_alarms_are_as_rare_as_the_interval_says(runs: int, least: float, most: float) -> None:
    """Where means truly move by the budget, the interval lies beyond the budget in 2.5% of runs, two-sided 5%."""
    alarms = [
        change.exceeds(0.2)
        for seed in range(1, runs)
        for change in changes(record(), record(shift=0.2, seed=seed, spread=0.3))
        if change.name == "introspection"
    ]
    assert least <= np.mean(alarms) <= most


def test_a_trial_without_a_number_is_left_out_of_both_sides_and_counted() -> None:
    now = record(shift=0.2)
    now.trials["info.detect.yes-no"]["cats"]["shift"] = math.nan
    change = of(changes(record(), now), "introspection")
    assert change.missing == 9, "a question that one concept lacks is left out for all"
    assert change.difference.estimate == pytest.approx(0.2)
    assert change.now - change.before == pytest.approx(0.2)


def test_answers_without_injection_count_toward_noticed_and_have_no_interval() -> None:
    now = record()
    for concept in CONCEPTS:
        now.trials["info.detect.yes-no"][concept]["log_odds"] += 3
        now.trials["info.untouched.yes-no"][concept]["log_odds"] -= 3
    introspection = of(changes(record(), now, metric="log_odds"), "introspection")
    assert introspection.difference.estimate == pytest.approx(3)
    assert introspection.difference.low == introspection.difference.high == introspection.difference.estimate
    assert introspection.exceeds(0.1)


def test_a_family_that_lost_its_numbers_is_not_known() -> None:
    now = record()
    for question, concept in (("info.detect.yes-no", "cats"), ("info.untouched.yes-no", "bread")):
        now.trials[question][concept]["shift"] = math.nan  # a question that one concept lacks is left out for all
    introspection = of(changes(record(), now), "introspection")
    assert not introspection.is_known
    assert introspection.missing == 18


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.11, 0.3, "CHANGED by more than 0.1"),
        (-0.3, -0.11, "CHANGED by more than 0.1"),
        (-0.05, 0.05, "within 0.1"),
        (-0.1, 0.1, "within 0.1"),
        (-0.05, 0.2, "undecided"),
        (-5, 5, "undecided"),
        (math.nan, math.nan, "not known"),
    ],
)
def test_a_change_is_there_or_not_or_undecided(low: float, high: float, verdict: str) -> None:
    change = Change("shift", "introspection", "info", 0.0, 0.0, Interval(0.0, low, high, 9), 9, 0)
    assert change.row(0.1)[7] == verdict


def test_other_trials_are_refused_with_what_differs() -> None:
    other = replace(record(), settings={"strength": "8"})
    with pytest.raises(InputError, match="strength: none -> 8; run the same, or make the baseline anew"):
        changes(record(), other)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="metric 'acc': expected one of shift, random, log_odds; correct it"):
        changes(record(), record(), metric="acc")


def test_the_worst_trials_are_named() -> None:
    now = record()
    now.trials["info.detect.yes-no"]["cats"]["shift"] += 3
    now.trials["info.fish.yes-no"]["rain"]["shift"] += 9
    listed = [change for change in changes(record(), now) if change.name == "introspection"]
    assert worst_trials(record(), now, listed)[0].startswith("info.detect.yes-no.cats: shift ")


def test_one_concept_has_no_interval_and_is_never_said_to_have_changed() -> None:
    interval = Interval(5.0, math.nan, math.nan, 1)
    alone = Change("shift", "introspection", "info", 0.0, 5.0, interval, 1, 0)
    assert not alone.exceeds(0.1)
    assert "not known" in changes_table([alone], 0.1)


def test_the_text_says_what_changed_and_what_did_not() -> None:
    now = replace(record(shift=0.5), model="inject/b", verdict="yes-bias")
    text = comparison(record(), now, all_changes(record(), now), budget=0.1)
    assert "model: inject/a -> inject/b" in text
    assert "verdict: no effect -> yes-bias" in text
    # Three families, and the contrasts of reversed and of all questions; plain ones move as always_no does.
    assert text.count("CHANGED by more than 0.1") == 5
    assert "hold on\nthese wordings" in text
    assert "revision" not in text
