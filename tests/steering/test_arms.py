"""Which arms a trial has, and plans of some of the concepts."""

import pytest

from introbench.records.arm import IMPACT, RANDOM
from introbench.steering.arms import ArmPlan
from introbench.steering.injection import VectorRecipe, parse_strength

WORDS = ("cats", "bread", "love", "fear", "death", "truth", "creativity", "programming", "music")


def plan_of(words: tuple[str, ...] = WORDS, norm_arms: int = 3) -> ArmPlan:
    return ArmPlan(
        vectors=tuple(VectorRecipe("pca_center", word) for word in words),
        layers=(1, 3),
        strength=parse_strength(3.0),
        random_arms=3,
        seed=0,
        norm_arms=norm_arms,
    )


def test_a_plan_of_fewer_concepts_spreads_them_and_keeps_their_vectors() -> None:
    whole = plan_of()
    fewer = whole.of_fewer(5)
    assert fewer.concepts == ("cats", "bread", "fear", "truth", "programming")
    assert set(fewer.batch) <= set(whole.batch), "the same injections, in a batch of their own"
    assert len(fewer.batch) == 1 + 5 + 5, "no random vectors of equal norm"
    assert {arm.matched for arm in fewer.arms("fear").values() if arm.kind == RANDOM} == {IMPACT}


@pytest.mark.parametrize("count", [9, 12])
def test_a_plan_that_has_no_more_concepts_stays_as_it_is(count: int) -> None:
    whole = plan_of()
    assert whole.of_fewer(count) is whole


def test_one_concept_is_the_first() -> None:
    assert plan_of(norm_arms=0).of_fewer(1).concepts == WORDS[:1]
