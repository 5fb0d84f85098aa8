"""The numbers that a verdict rests on: exact on trials made by hand, and simulated models get their verdicts."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from introbench.analysis import excess
from introbench.analysis.evidence import Evidence, evidence
from introbench.analysis.noticed import TrialShift
from introbench.analysis.verdict import INTROSPECTIVE, TRACKS, verdict
from introbench.prompts.schema import SALIENCE
from introbench.records.factors import Plan
from introbench.stats.intervals import NOT_MEASURED, Interval

PLAN = Plan(["info"], ["introspection", "always_no", "always_yes", SALIENCE])
CONCEPTS = ("bread", "cats", "love", "rain")
BASELINES = {
    "introspection": [-2.0, -1.5, 1.0, 2.0],
    SALIENCE: [-2.5, -1.0, 1.5, 2.5],
    "always_no": [-4.0, -3.0, -2.5, -2.0, -1.5, -1.0],
    "always_yes": [1.0, 1.5, 2.0, 2.5, 3.0, 4.0],
}
FORMATS = {"yes-no": "words", "a-b": "letters", "b-a": "letters"}
"""Answer formats and their kinds; salience is asked in words alone."""

Effect = Callable[[str, str], float]


def trials(
    concept: Effect,
    random: Effect | None = None,
    *,
    document: str = "info",
    lines: tuple[float, float] = (0.4, 0.2),
    letters: float = 0.0,
) -> list[TrialShift]:
    """Answers that are pushed and flattened, and beyond that moved by an effect on each family, without any noise.

    Args:
        concept: What a concept's vector moves a family toward "noticed", by family and concept, in nats.
        random: The same of random vectors, which have another line.
        document: The document.
        lines: Push and flattening under the concepts' vectors.
        letters: How much more than in words introspection moves in letters.
    """
    made = []
    for family, baselines in BASELINES.items():
        for number, baseline in enumerate(baselines):
            side = -1.0 if family in ("introspection", SALIENCE) and number >= 2 else 1.0
            for answer_format, kind in FORMATS.items():
                if family == SALIENCE and kind != "words":
                    continue
                for name in CONCEPTS:
                    more = letters * (kind == "letters" and family == "introspection")
                    moved = side * (concept(family, name) + more)
                    vectors = {
                        f"random {n}": 0.1 + 0.05 * baseline + side * random(family, f"random {n}") for n in range(3)
                    } if random else {}  # fmt: skip
                    made.append(
                        TrialShift(
                            document, family, f"{family} {number}", answer_format, kind, name, side,
                            lines[0] - lines[1] * baseline + moved, vectors, baseline,
                        )
                    )  # fmt: skip
    return made


def of_families(**sizes: float) -> Effect:
    return lambda family, _unit: sizes.get(family, 0.0)


def rests_on(made: list[TrialShift], plan: Plan = PLAN, **live: bool | None) -> Evidence:
    numbers = evidence(excess.excesses(made, plan), made, plan, live or dict.fromkeys(CONCEPTS, True))
    assert numbers is not None
    return numbers


def exactly(interval: Interval, truth: float) -> bool:
    return (interval.low, interval.estimate, interval.high) == pytest.approx((truth,) * 3, abs=1e-9)


# Exact numbers


def test_numbers_of_the_concepts_vectors() -> None:
    numbers = rests_on(trials(of_families(introspection=1.5)))
    assert exactly(numbers.excess, 1.5)
    assert numbers.bias.estimate == pytest.approx(0.4)
    assert numbers.flattening.estimate == pytest.approx(0.2)
    assert (numbers.concepts, numbers.questions, numbers.controls, numbers.controls_planned) == (4, 4, 12, 12)
    assert (numbers.near, numbers.salience_near) == (1.0, 1.0)
    assert numbers.baseline == pytest.approx((2.0 + 1.5 + 1.0 + 2.0) / 4)
    for name in ("random", "beyond_random", "random_beyond_half", "document"):
        assert getattr(numbers, name) == NOT_MEASURED
    assert math.isnan(numbers.dose_ratio)


def test_numbers_of_random_vectors() -> None:
    made = trials(of_families(introspection=1.5), of_families(introspection=0.5))
    numbers = rests_on(made)
    assert numbers.random.estimate == pytest.approx(0.5)
    assert numbers.beyond_random.estimate == pytest.approx(1.0)
    assert numbers.random_beyond_half.estimate == pytest.approx(-0.25)
    doses = {excess.CONCEPTS: 2.0, excess.RANDOM: 1.5, excess.RANDOM_BY_NORM: 9.0}
    with_doses = evidence(excess.excesses(made, PLAN, doses=doses), made, PLAN, {})
    assert with_doses is not None
    assert with_doses.dose_ratio == pytest.approx(0.75)


def test_salience_without_random_vectors_is_beside_introspection_in_words() -> None:
    """Letters move twice as far, and are not compared with words."""
    numbers = rests_on(trials(of_families(introspection=2.0, salience=0.75), letters=2.0))
    assert numbers.excess.estimate == pytest.approx(3.0)
    assert exactly(numbers.salience, 0.75)
    assert exactly(numbers.beyond_salience, 1.25)
    assert exactly(numbers.salience_beyond_half, -0.25)


def test_salience_is_taken_beyond_random_vectors_where_there_are_any() -> None:
    made = trials(of_families(introspection=2.0, salience=0.75), of_families(introspection=0.4, salience=0.7))
    numbers = rests_on(made)
    assert exactly(numbers.salience, 0.75)
    assert exactly(numbers.beyond_salience, 1.25)
    assert exactly(numbers.salience_beyond_half, (0.75 - 0.7) - (2.0 - 0.4) / 2)


def test_salience_beyond_half_is_of_the_same_concepts() -> None:
    """Concepts differ, each has half of its own introspection in salience, and the interval is a point."""
    own = dict(zip(CONCEPTS, (1.0, 2.0, 3.0, 4.0), strict=True))
    share = {"introspection": 1.0, SALIENCE: 0.5}
    numbers = rests_on(trials(lambda family, concept: own[concept] * share.get(family, 0.0)))
    assert numbers.salience.low < 1.25 < numbers.salience.high
    assert exactly(numbers.salience_beyond_half, 0.0)


def test_salience_that_was_not_asked_is_not_measured() -> None:
    made = [t for t in trials(of_families(introspection=2.0)) if t.family != SALIENCE]
    numbers = rests_on(made, replace(PLAN, families=[f for f in PLAN.families if f != SALIENCE]))
    assert not numbers.salience_asked
    assert numbers.salience is numbers.beyond_salience is numbers.salience_beyond_half is NOT_MEASURED
    assert math.isnan(numbers.salience_near)
    lost = rests_on(made)
    assert lost.salience_asked, "it was planned"
    assert lost.salience is NOT_MEASURED


def test_salience_far_from_control_questions_is_told() -> None:
    made = [
        replace(t, baseline=t.baseline + 20 * np.sign(t.baseline)) if t.item in ("salience 0", "salience 3") else t
        for t in trials(of_families(introspection=2.0))
    ]
    numbers = rests_on(made)
    assert numbers.salience_near == pytest.approx(0.5)
    assert numbers.near == 1


def test_the_reference_document_is_the_one_that_counts() -> None:
    plan = replace(PLAN, documents=["none", "info", "neutral"])
    here = trials(of_families(introspection=1.0))
    neutral = [
        replace(t, baseline=t.baseline - t.side * 0.3 * (t.family == "introspection"))
        for t in trials(of_families(introspection=9.0), document="neutral")
    ]
    numbers = rests_on([*trials(of_families(introspection=5.0), document="none"), *neutral, *here], plan)
    assert numbers.excess.estimate == pytest.approx(1.0)
    assert numbers.document.estimate == pytest.approx(0.3)
    without_neutral = rests_on(here, replace(PLAN, documents=["info", "none"]))
    assert without_neutral.document is NOT_MEASURED


def test_live_vectors_are_those_of_which_it_is_known() -> None:
    numbers = rests_on(trials(of_families()), bread=True, cats=False, love=None, rain=True)
    assert (numbers.live, numbers.tested) == (2, 3)


def test_without_introspection_or_trials_there_is_no_evidence() -> None:
    made = trials(of_families())
    controls = [t for t in made if t.family.startswith("always")]
    assert evidence([], controls, replace(PLAN, families=["always_no", "always_yes"]), {}) is None
    assert evidence([], [], PLAN, {}) is None


def test_control_questions_that_were_asked_are_counted_though_none_was_answered() -> None:
    made = [replace(t, shift=math.nan) if t.family.startswith("always") else t for t in trials(of_families())]
    numbers = rests_on(made)
    assert (numbers.controls, numbers.controls_planned) == (0, 12)
    assert math.isnan(numbers.excess.low)


def test_lost_salience_answers_of_one_concept_do_not_take_the_others_with_it() -> None:
    made = [
        replace(t, shift=math.nan) if (t.family, t.concept) == (SALIENCE, "love") else t
        for t in trials(of_families(introspection=2.0, salience=0.5))
    ]
    numbers = rests_on(made)
    assert numbers.salience.units == numbers.beyond_salience.units == numbers.salience_beyond_half.units == 3
    assert numbers.excess.units == 4


# Verdicts of simulated models


@pytest.mark.parametrize(
    ("concept", "random", "name"),
    [
        ({"introspection": 1.5}, {}, TRACKS),
        ({"introspection": 1.5, SALIENCE: 0.3}, {}, TRACKS),
        ({"introspection": 1.5, SALIENCE: 1.5}, {}, "reads salience"),
        ({"introspection": 1.5}, {"introspection": 1.5}, "notices any perturbation"),
        ({"introspection": 1.5, SALIENCE: 1.5}, {"introspection": 1.5, SALIENCE: 1.5}, "notices any perturbation"),
        ({SALIENCE: 1.5}, {}, "no effect"),
        ({"introspection": -1.5}, {}, "moves the other way"),
    ],
)
def test_models_get_their_verdicts(concept: dict[str, float], random: dict[str, float], name: str) -> None:
    draw = np.random.default_rng(0)
    made = [
        replace(
            t,
            shift=t.shift + 0.1 * draw.standard_normal(),
            random={vector: shift + 0.1 * draw.standard_normal() for vector, shift in t.random.items()},
        )
        for t in trials(of_families(**concept), of_families(**random))
    ]
    assert verdict(replace(rests_on(made), dose_ratio=1.0)).name == name


def test_lost_salience_answers_are_no_licence() -> None:
    made = [
        replace(t, shift=math.nan) if t.family == SALIENCE else t
        for t in trials(of_families(introspection=1.5, salience=1.5), of_families())
    ]
    numbers = replace(rests_on(made), dose_ratio=1.0)
    assert math.isnan(numbers.salience.estimate)
    assert verdict(numbers).name == "inconclusive"
    assert verdict(replace(numbers, salience_asked=False)).name in INTROSPECTIVE
