"""Recipes: what users may write, and that recipes survive the trip through JSON."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from introbench.engine import Reading
from introbench.errors import InputError
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import Injection, Strength, VectorRecipe, parse_layers, parse_strength


@pytest.mark.parametrize(
    ("value", "layers"),
    [
        ("10:20", (10, 20)),
        (620, (10, 20)),  # what YAML makes of 10:20
        ([3, 4], (3, 4)),
        (None, (10, 20)),
        ("0:30", (0, 30)),
    ],
)
def test_layers_are_read_as_written(value: object, layers: tuple[int, int]) -> None:
    assert parse_layers(value, 30) == layers


def test_middle_third_is_the_default() -> None:
    assert parse_layers(None, 64) == (21, 42)
    assert parse_layers(None, 2) == (0, 1)
    assert parse_layers(None, 1) == (0, 1)


@pytest.mark.parametrize(
    "value", ["20:31", "10:10", "20:10", "-1:3", "ten", "1:2:3", "", 10, 59, [1], True, 2.5, "30:40"]
)
def test_bad_layers_are_refused_in_one_line(value: object) -> None:
    with pytest.raises(InputError, match="expected START:STOP with 0 <= START < STOP <= 30") as refusal:
        parse_layers(value, 30)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "strength"),
    [
        (8, Strength(8.0)),
        ("-2.5", Strength(-2.5)),
        (0, Strength(0)),
        ("residual:0.05", Strength(0.05, "residual")),
        ("kl:0.5", Strength(0.5, "kl")),
    ],
)
def test_strengths_are_read_as_written(value: object, strength: Strength) -> None:
    assert parse_strength(value) == strength
    assert parse_strength(str(strength)) == strength


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "-inf", "strong", "residual:", "residual:nan", "kl:", "norm:8", True, None, [8]]
)
def test_bad_strengths_are_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"strength=.*expected a finite number"):
        parse_strength(value)


@given(
    concept=st.text(min_size=1).filter(str.strip),
    seed=st.none() | st.integers(0, 2**32),
    strength=st.floats(allow_nan=False, allow_infinity=False),
    start=st.integers(0, 90),
    length=st.integers(1, 9),
    spans=st.lists(st.tuples(st.integers(0, 5), st.integers(6, 9), st.floats(-9, 9))),
)
def test_injections_survive_json(
    concept: str, seed: int | None, strength: float, start: int, length: int, spans: list[tuple[int, int, float]]
) -> None:
    recipe = VectorRecipe("pca_center", concept, seed)
    injection = Injection(
        recipe,
        (start, start + length),
        Strength(strength, "kl"),
        like=recipe,
        match="impact",
        spans=tuple(spans),
        batch=3,
    )
    assert Injection.from_json(json.loads(json.dumps(injection.to_json()))) == injection


def test_recipes_that_name_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="method='pca'"):
        VectorRecipe("pca", "cats")
    with pytest.raises(InputError, match="concept=' '"):
        VectorRecipe("mean_diff", " ")
    with pytest.raises(InputError, match="strength=nan"):
        Strength(math.nan)
    with pytest.raises(InputError, match=r"span 4:4 by 1\.0: expected 0 <= BEGIN < END"):
        Injection(None, (0, 1), Strength(1), spans=((4, 4, 1.0),))


def arm_plan(
    concepts: tuple[str, ...], random_arms: int, steerings: tuple[str, ...] = ("cache",), norm_arms: int = 0
) -> ArmPlan:
    vectors = tuple(VectorRecipe("pca_center", concept) for concept in concepts)
    return ArmPlan(vectors, (1, 3), Strength(4.0), random_arms, seed=0, steerings=steerings, norm_arms=norm_arms)


@given(
    n_concepts=st.integers(1, 12),
    random_arms=st.integers(0, 5),
    steerings=st.sampled_from([("cache",), ("active",), ("cache", "active")]),
)
def test_every_random_vector_is_used_equally_often(
    n_concepts: int, random_arms: int, steerings: tuple[str, ...]
) -> None:
    words = tuple(f"word{chr(97 + n)}" for n in range(n_concepts))
    plan = arm_plan(words, random_arms, steerings)
    batch = plan.batch
    assert batch[0].vector is None
    uses = {row: 0 for row, each in enumerate(batch) if each.vector and each.vector.is_random}
    for word in words:
        arms = plan.arms(word)
        assert batch[arms["sham"].row].vector is None
        assert batch[arms["concept"].row].vector == VectorRecipe("pca_center", word)
        for name, arm in arms.items():
            expected = steerings[-1] if " active" in name else "cache" if name == "sham" else steerings[0]
            assert batch[arm.row].steering == arm.steering == expected, name
        rows = [arm.row for name, arm in arms.items() if name.startswith("random")]
        assert rows == [arm.row for arm in arms.values() if arm.kind == "random"]
        assert len(set(rows)) == random_arms * len(steerings)
        for row in rows:
            uses[row] += 1
            assert batch[row].vector.is_random
            source = batch[row].like
            assert source == replace(batch[row].vector, seed=None, draw=0), "it is like the vector that it rotates"
            assert batch[row].match == "impact"
        if random_arms:
            assert batch[arms["random 1 (impact)"].row].like == batch[arms["concept"].row].vector
    if n_concepts >= random_arms:
        assert set(uses.values()) <= {random_arms}
    assert len(set(batch)) == len(batch)
    assert ArmBatch.from_text(batch.to_text()) == batch


@given(
    n_concepts=st.integers(1, 12),
    random_arms=st.integers(0, 4),
    norm_arms=st.integers(0, 12),
    steerings=st.sampled_from([("cache",), ("active",), ("cache", "active")]),
)
def test_a_few_rotations_are_run_at_equal_norm_as_well_and_a_trial_has_one(
    n_concepts: int, random_arms: int, norm_arms: int, steerings: tuple[str, ...]
) -> None:
    words = tuple(f"word{chr(97 + n)}" for n in range(n_concepts))
    plan = arm_plan(words, random_arms, steerings, norm_arms)
    batch = plan.batch
    pool = min(norm_arms, n_concepts) if random_arms else 0
    assert len(batch) == 1 + len(steerings) * (n_concepts + (max(n_concepts, random_arms) if random_arms else 0)) + pool
    rotations = {each.vector: each for each in batch if each.match == "impact"}
    used: Counter[int] = Counter()
    for number, word in enumerate(words):
        by_norm = {n: arm for n, arm in plan.arms(word).items() if (arm.kind, arm.matched) == ("random", "norm")}
        assert list(by_norm) == ["random 1"] * bool(pool)
        for arm in by_norm.values():
            injection = batch[arm.row]
            assert injection.match == "norm"
            assert injection.steering == steerings[0]
            assert injection.like == VectorRecipe("pca_center", words[number % pool])
            assert rotations[injection.vector].like == injection.like, "the same rotation as one of equal dose"
            used[arm.row] += 1
    assert len(used) == pool, "none is run in vain"
    assert max(used.values(), default=0) - min(used.values(), default=0) <= 1


def test_long_lists_of_concepts_are_split() -> None:
    words = tuple(f"word{chr(97 + n)}" for n in range(26))
    parts = arm_plan(words, 3).split()
    assert sum((part.concepts for part in parts), ()) == words
    assert max(len(part.batch) for part in parts) == 1 + 12 + 12


def test_readings_of_several_fillers_are_put_back_in_the_order_of_the_batch() -> None:
    def part(rows: list[int]) -> tuple[list[int], Reading]:
        values = torch.tensor(rows, dtype=torch.float32)
        forms = values[:, None].expand(-1, 2).contiguous()
        finite = [row != 3 for row in rows]
        return rows, Reading(forms, forms.long(), forms, finite, lens=torch.stack([forms, forms + 10]))

    joined = Reading.joined([part([0, 3, 4]), part([2, 1])])
    assert joined.logprobs[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert joined.top_ids[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert joined.finite == [True, True, True, False, True]
    assert joined.lens[1, :, 0].tolist() == [10, 11, 12, 13, 14]
    assert joined.residuals.numel() == 0
