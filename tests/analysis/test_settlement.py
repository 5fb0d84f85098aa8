"""What would settle an open step: exact on intervals made by hand, and its promise kept by simulated larger runs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from introbench.analysis.settlement import FAMILIES, Bound, Settlement, settle
from introbench.analysis.verdict import Step, StepAnswer, StepName
from introbench.stats.intervals import NOT_MEASURED, Interval, VariancePart
from introbench.stats.power import POWER
from introbench.validation.mechanisms import MECHANISMS
from introbench.validation.worlds import Result, Sizes, simulate

BOUND = Bound("excess", 0.5)
OPEN = Interval(0.3, -0.1, 0.7, 9, (VariancePart("units", 0.03, 9),))


def test_without_an_interval_nothing_is_measured() -> None:
    for interval in (NOT_MEASURED, Interval(2.0, math.nan, math.nan, 1)):
        assert settle(interval, BOUND) == Settlement()


def test_what_no_larger_run_narrows_cannot_be_settled() -> None:
    by_kinds = replace(OPEN, parts=(VariancePart("kinds", 0.03, 4),))
    assert settle(by_kinds, BOUND) == Settlement(measured=True)


def test_units_are_concepts_or_questions() -> None:
    found = settle(OPEN, BOUND)
    assert found.possible
    assert found.concepts > 9
    assert found == Settlement(True, True, concepts=found.concepts)
    assert settle(OPEN, replace(BOUND, units_are_questions=True)) == Settlement(True, True, questions=found.concepts)


@pytest.mark.parametrize("place", range(3))
def test_families_of_questions_that_set_the_width_are_asked_for(place: int) -> None:
    """Each in turn has nearly all of the variance; what need not grow is not named."""
    parts = [VariancePart("units", 1e-4, 9)]
    for number in range(3):
        parts += [
            VariancePart(f"questions {number}", 0.03 if number == place else 1e-4, 20),
            VariancePart(f"cells {number}", 1e-5, 20),
        ]
    found = settle(replace(OPEN, parts=tuple(parts)), BOUND)
    counts = {name: getattr(found, name) for name in ("concepts", *FAMILIES)}
    assert {name for name, count in counts.items() if count} == {FAMILIES[place]}
    assert counts[FAMILIES[place]] > 20


def test_either_direction_may_settle_what_has_two() -> None:
    """A push toward no is as good as one toward yes."""
    mirrored = replace(OPEN, estimate=-0.3, low=-0.7, high=0.1)
    assert settle(mirrored, replace(BOUND, either_way=True)) == settle(OPEN, BOUND)
    assert settle(mirrored, BOUND) != settle(OPEN, BOUND), "where it has to lie above 0 it is far below the margin"


def test_a_lower_level_asks_for_less() -> None:
    narrower = 0.4 * stats.t.ppf(0.95, 8) / stats.t.ppf(0.975, 8)
    wide, narrow = (replace(OPEN, estimate=0.35, low=0.35 - half, high=0.35 + half) for half in (0.4, narrower))
    less, more = (settle(i, replace(BOUND, below=0.0, level=level)) for i, level in ((narrow, 0.9), (wide, 0.95)))
    assert 9 < less.concepts < more.concepts
    lower, usual = (settle(OPEN, replace(BOUND, below=0.0, level=level)) for level in (0.9, 0.95))
    assert lower.concepts > usual.concepts, "the same ends at a lower level mean a larger error"


# The promise, on simulated runs

CONTROLS = ("always_no", "always_yes", "ambiguous", "confusing")
FEW = Sizes(4, {"introspection": 6, "salience": 0} | dict.fromkeys(CONTROLS, 4))
"""A run that is so small that its steps are often open."""


def step_of(result: Result, name: StepName) -> Step:
    (step,) = [step for step in result.verdict.steps if step.name == name]
    return step


def larger(advice: Settlement) -> Sizes:
    """The run that is advised in place of `FEW`."""
    families = dict(FEW.families)
    families["introspection"] = advice.questions or families["introspection"]
    if advice.controls:
        families |= {name: (advice.controls + place) // 4 for place, name in enumerate(CONTROLS)}
    return Sizes(advice.concepts or FEW.concepts, families)


STEPS = (StepName.EXCESS, StepName.RANDOM, StepName.BEYOND_RANDOM)


def settled(mechanism: str, seeds: range) -> dict[StepName, list[bool]]:
    """Whether the advised runs, with other concepts and questions, settle the steps that small runs left open."""
    outcomes: dict[StepName, list[bool]] = {name: [] for name in STEPS}
    for seed in seeds:
        world = MECHANISMS[mechanism].world(np.random.default_rng([seed, 7]).uniform(0.2, 0.5))
        result = simulate(world, seed, FEW)
        for name in STEPS:
            advice = step_of(result, name).settlement
            if advice is not None and advice.possible:
                again = step_of(simulate(world, seed + 1_000_000, larger(advice)), name)
                outcomes[name].append(again.answer is not StepAnswer.OPEN)
    return outcomes


@pytest.mark.parametrize("mechanism", ["introspection", "unlike concepts"])
def test_the_advised_run_settles_an_open_step_in_four_runs_of_five(mechanism: str) -> None:
    outcomes = [outcome for of_step in settled(mechanism, range(20)).values() for outcome in of_step]
    assert len(outcomes) >= 8, "small runs leave steps open often enough"
    assert np.mean(outcomes) >= POWER


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["introspection", "unlike concepts", "alike pairs"])
def test_the_advised_run_settles_each_step_in_four_runs_of_five(mechanism: str) -> None:
    outcomes = settled(mechanism, range(100))
    assert all(len(of_step) >= 8 for of_step in outcomes.values()), outcomes
    assert {name: np.mean(of_step) >= POWER for name, of_step in outcomes.items()} == dict.fromkeys(STEPS, True)
