"""Simulated runs: what the instrument's defects once were, each as a mechanism, and what it says of it now.

Runs here leave salience questions out, which these mechanisms do not turn on and which take two thirds of the time. Few
runs of each here; many of them, and all mechanisms, in `make validate`.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from introbench.analysis.verdict import INTROSPECTIVE, TRACKS, TRACKS_LITTLE, StepAnswer, StepName
from introbench.prompts.schema import SALIENCE
from introbench.stats import kind_effects
from introbench.stats.robust_curve import line_basis
from introbench.validation.mechanisms import MECHANISMS
from introbench.validation.worlds import FAMILIES, Result, Run, Sizes, judge, simulate


def results(name: str, size: float, runs: int, dose_ratio: float = 1.0, first: int = 0) -> list[Result]:
    mechanism = MECHANISMS[name]
    sizes = Sizes(families={SALIENCE: 0}, kinds=mechanism.run.kinds)
    return [simulate(mechanism.world(size), seed, sizes, dose_ratio) for seed in range(first, first + runs)]


def found(of_runs: Sequence[Result]) -> float:
    """The share of runs that are said to introspect."""
    return float(np.mean([result.verdict.name in INTROSPECTIVE for result in of_runs]))


def covered(of_runs: Sequence[Result], truth: float) -> float:
    """The share of runs whose interval covers the true excess."""
    return float(np.mean([result.excess.low <= truth <= result.excess.high for result in of_runs]))


# Runs


def test_a_run_is_its_seeds() -> None:
    world = MECHANISMS["unlike concepts"].world(0.3)
    once, again, other = (simulate(world, seed, Sizes(3)) for seed in (1, 1, 2))
    assert once == again
    assert once.excess != other.excess


def test_sizes_are_those_of_the_run() -> None:
    assert Sizes().families == FAMILIES
    run = Run(0, Sizes(5, {"introspection": 7, SALIENCE: 0}, kinds=4))
    trials = run.trials()
    assert len({t.concept for t in trials}) == 5
    assert {t.family for t in trials} == {*FAMILIES} - {SALIENCE}
    asked = {(t.item, t.answer_kind) for t in trials if t.family == "introspection"}
    assert len({item for item, _ in asked}) == 7
    assert len(asked) == 14, "each question in two of four kinds"
    sides = [t.side for t in trials if t.family == "introspection" and t.concept == "concept 0"]
    assert sides.count(1.0) == 8
    assert all(len(t.random) == 3 for t in trials)
    assert {t.side for t in trials if t.family == "always_yes"} == {1.0}


def test_what_a_world_adds_is_what_trials_have() -> None:
    """Noticing moves plain questions up and reversed ones down, of one family and one kind of vectors."""
    nothing, run = Run(3, Sizes(2)), Run(3, Sizes(2))
    run.notice(run.concepts, np.array([0.5, 2.0]))
    run.move(run.random, 0.25, run.is_of("always_no"))
    for before, after in zip(nothing.trials(), run.trials(), strict=True):
        size = {"concept 0": 0.5, "concept 1": 2.0}[after.concept] if after.family == "introspection" else 0.0
        assert after.noticed - before.noticed == pytest.approx(size)
        moved = {name: after.random[name] - before.random[name] for name in after.random}
        assert moved == pytest.approx(dict.fromkeys(moved, 0.25 * (after.family == "always_no")))


def test_runs_without_introspection_cannot_be_judged() -> None:
    trials = [t for t in Run(0, Sizes(2)).trials() if t.family != "introspection"]
    with pytest.raises(ValueError, match="introspection among them"):
        judge(trials)


# Confusion that is no line


@pytest.mark.parametrize("runs", [20])
@pytest.mark.parametrize("name", ["S-shape", "pull"])
def test_bent_confusion_neither_passes_for_introspection_nor_hides_it(name: str, runs: int) -> None:
    true = results(name, 0.6, runs)
    assert found(true) >= 0.95
    assert covered(true, 0.6) >= 0.87
    assert found(results(name, 0.0, runs // 2, first=1000)) == 0


@pytest.mark.parametrize("name", ["S-shape", "pull"])
def test_a_line_covered_bent_confusion_less_often(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind_effects, "curve_basis", line_basis)
    assert covered(results(name, 0.6, 8), 0.6) <= 0.75


# Answers of introspection questions alone


@pytest.mark.parametrize("runs", [10])
def test_a_push_on_introspection_questions_alone_hides_nothing(runs: int) -> None:
    true = results("push", 0.6, runs)
    assert found(true) >= 0.95
    assert found(results("push", 0.0, runs, first=1000)) == 0
    same = results("introspection", 0.6, 3)
    for pushed, plain in zip(true, same, strict=False):
        assert pushed.excess.estimate == pytest.approx(plain.excess.estimate, abs=1e-9), "it cancels in every run"
        assert pushed.excess.high == pytest.approx(plain.excess.high, abs=1e-9)


@pytest.mark.parametrize("runs", [12])
def test_four_kinds_of_answers_that_differ_are_allowed_for(runs: int) -> None:
    """Kinds differ by a standard deviation of 0.6 about nothing."""
    none = results("formats", 0.0, runs)
    assert found(none) <= 1 / 12
    assert covered(none, 0.0) >= 0.83


# What never tracks


@pytest.mark.parametrize("runs", [12])
def test_far_control_questions_never_show_introspection(runs: int) -> None:
    far = results("far control questions", 1.5, runs)
    assert found(far) == 0
    near = {step.answer for result in far for step in result.verdict.steps if step.name is StepName.NEAR}
    assert near == {StepAnswer.NO}
    assert np.mean([result.excess.low > 0 for result in far]) > 0.5, (
        "it is nearness that keeps the excess from counting"
    )


@pytest.mark.parametrize("runs", [7])
@pytest.mark.parametrize(
    ("name", "size"), [("dose detector", 0.3), ("dose detector", 1.5), ("sensitive family", 0.5), ("nothing", 0.0)]
)
def test_what_any_vector_does_is_no_introspection(name: str, size: float, runs: int) -> None:
    assert found(results(name, size, runs)) == 0


@pytest.mark.parametrize("runs", [6])
def test_what_random_vectors_do_more_than_half_of_is_no_introspection(runs: int) -> None:
    """Concepts' vectors do more than random ones, which is shown, and yet too little more."""

    def nearly_alike(run: Run) -> None:
        run.notice(run.concepts, 1.0)
        run.notice(run.random, 0.7)

    of_runs = [simulate(nearly_alike, seed, Sizes(families={SALIENCE: 0})) for seed in range(runs)]
    beyond = [step.answer for result in of_runs for step in result.verdict.steps if step.name is StepName.BEYOND_RANDOM]
    assert beyond.count(StepAnswer.YES) + beyond.count(StepAnswer.YES_LITTLE) > 0.9 * runs
    assert found(of_runs) == 0


@pytest.mark.parametrize("runs", [6])
@pytest.mark.parametrize("dose", [0.4, 0.7])
def test_random_vectors_of_a_smaller_dose_support_no_claim(dose: float, runs: int) -> None:
    """A detector of doses reports random vectors less if they are weaker: their doses have to be equal."""

    def weaker(run: Run) -> None:
        run.notice(run.concepts, 1.5)
        run.notice(run.random, dose * 1.5)

    sizes = Sizes(families={SALIENCE: 0})
    unequal = [simulate(weaker, seed, sizes, dose_ratio=dose) for seed in range(runs)]
    assert found(unequal) == 0
    if dose < 0.5:
        believed = [simulate(weaker, seed, sizes, dose_ratio=1.0) for seed in range(2)]
        assert found(believed) == 1, "it is the dose that is not believed"


# What is found, and how large it is said to be


@pytest.mark.parametrize("runs", [12])
@pytest.mark.parametrize("name", ["introspection", "unlike concepts"])
def test_introspection_is_found_and_covered(name: str, runs: int) -> None:
    true = results(name, 0.6, runs)
    assert found(true) >= 0.95
    assert covered(true, 0.6) >= 0.85


@pytest.mark.parametrize("runs", [20])
def test_concepts_that_come_in_pairs_are_covered_less_often(runs: int) -> None:
    """Where pairs correlate by 0.8, nine concepts are worth five, and no interval knows it: 95% are 89%."""
    pairs = results("alike pairs", 0.6, runs)
    assert found(pairs) >= 0.9
    assert covered(pairs, 0.6) >= 0.75


def test_an_effect_of_a_fifth_of_a_nat_tracks_by_less_than_the_margin() -> None:
    names = [result.verdict.name for result in results("introspection", 0.25, 10)]
    assert names.count(TRACKS_LITTLE) >= 8, names
    assert TRACKS not in names


def test_salience_is_what_tells_its_reader_from_an_introspector() -> None:
    """With salience questions, in whole runs; without them the same model passes."""
    reader = MECHANISMS["salience in both"].world(1.5)
    assert {simulate(reader, seed).verdict.name for seed in range(4)} == {"reads salience"}
    assert found(results("salience in both", 1.5, 3)) == 1


def test_mechanisms_say_what_they_do() -> None:
    for name, mechanism in MECHANISMS.items():
        assert mechanism.does, name
        assert mechanism.sizes, name
        assert mechanism.introspects or mechanism.excess is None or mechanism.excess(0.6) == 0
