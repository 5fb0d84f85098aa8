"""Runs of planted models through the introspection task, and the file that keeps their outcomes."""

import math
from pathlib import Path

import pytest

from introbench.analysis.verdict import TRACKS_LITTLE, VERDICTS
from introbench.validation.planted_models import concepts_of
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import Case, Outcome, run_case, run_cases

QUICK = "introspector"
"""The planted model that is run on every change; the others are among the slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == QUICK else [pytest.mark.slow]) for name in PLANTED]
)
def test_the_instrument_gives_the_right_verdict(name):
    families = ["introspection", "always_no", "always_yes", "confusing", "salience"]
    outcome = run_case(Case(name, seed=0), concepts=concepts_of(0, 4), families=families)
    assert outcome.verdict == PLANTED[name].verdict


def test_every_verdict_but_inconclusive_and_the_opposites_is_planted():
    opposites = {"moves the other way", "no-bias", "sharpening"}  # the same numbers with the sign turned
    smaller = {TRACKS_LITTLE}  # of the power curve
    assert {truth.verdict for truth in PLANTED.values()} == set(VERDICTS) - opposites - smaller - {"inconclusive"}


def test_outcomes_are_kept_and_not_run_again(tmp_path: Path) -> None:
    kept = tmp_path / "outcomes.jsonl"
    known = [
        Outcome(Case("deaf", 0), "no effect", 0.3, 0.2, 0.4),
        Outcome(Case("deaf", 1), "no effect", 0.3, math.nan, 0.4),
    ]
    kept.write_text("".join(outcome.to_json() + "\n" for outcome in known))
    again = list(run_cases([outcome.case for outcome in known], kept, workers=1))
    assert [outcome.to_json() for outcome in again] == [outcome.to_json() for outcome in known]
