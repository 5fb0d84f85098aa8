"""Information about two kinds of vectors: by hand, and the p-value's distribution without a difference."""

import numpy as np
import pytest

from introbench.stats.information_difference import information_difference, pairs_needed


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_by_hand() -> None:
    """Three vectors that each get an answer of their own, beside three that get no answer in particular."""
    first, second = np.eye(3)[None], np.full((1, 3, 3), 1 / 3)
    result = information_difference(first, second, rng=rng())
    assert result.plug_in == pytest.approx(np.log2(3))
    assert result.p_value == result.smallest_p == 1 / 8
    other_way = information_difference(second, first, rng=rng())
    assert other_way.plug_in == pytest.approx(-result.plug_in)
    assert other_way.p_value == 1
    same = information_difference(first, first, rng=rng())
    assert (same.plug_in, same.p_value) == (0, 1)


def test_tables_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        information_difference(np.ones((1, 3, 3)) / 3, np.ones((1, 2, 3)) / 3, rng=rng())


@pytest.mark.parametrize(("p_value", "pairs"), [(0.05, 5), (0.005, 8), (1 / 512, 9)])
def test_pairs_needed(p_value: float, pairs: int) -> None:
    assert pairs_needed(p_value) == pairs


@pytest.mark.parametrize(("pairs", "runs"), [(6, 300), (13, 60)])
def test_small_p_values_are_as_rare_as_they_say(pairs: int, runs: int) -> None:
    draw = rng()
    answers = draw.dirichlet(np.ones(pairs), (runs, 2, 1, pairs))
    p_values = np.array([information_difference(first, second, rng=draw).p_value for first, second in answers])
    assert np.mean(p_values <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert 0.3 < np.mean(p_values <= 0.5) < 0.7
