"""List orders: balanced over places and, for an even number of options, over neighbours."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from introbench.prompts.latin_squares import balanced_orders

OPTIONS = range(2, 15)


def replicates(options: int, count: int = 3) -> list[list[tuple[int, ...]]]:
    orders = balanced_orders(options, count, np.random.default_rng(1))
    return [orders[start : start + options] for start in range(0, len(orders), options)]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_stands_at_each_place_once_in_a_replicate(options: int) -> None:
    squares = replicates(options)
    assert len(squares) == 3
    for square in squares:
        assert len(square) == options
        for line in (*square, *zip(*square, strict=True)):
            assert sorted(line) == list(range(options))


@pytest.mark.parametrize("options", [n for n in OPTIONS if n % 2 == 0])
def test_every_option_follows_each_other_once_if_they_are_even(options: int) -> None:
    for square in replicates(options):
        pairs = Counter(pair for order in square for pair in pairwise(order))
        assert len(pairs) == options * (options - 1)
        assert set(pairs.values()) == {1}


@pytest.mark.parametrize("options", [n for n in OPTIONS if n % 2])
def test_no_option_follows_another_more_than_twice_if_they_are_odd(options: int) -> None:
    for square in replicates(options):
        pairs = Counter(pair for order in square for pair in pairwise(order))
        assert max(pairs.values()) <= 2


def test_replicates_differ_and_depend_on_the_seed_alone() -> None:
    first, again, other = (balanced_orders(10, 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert set(first[:10]) != set(first[10:])
    assert all(type(option) is int for option in first[0])


def test_one_option_none_and_no_replicates() -> None:
    assert balanced_orders(1, 2, np.random.default_rng(0)) == [(0,), (0,)]
    assert balanced_orders(4, 0, np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match="0 options"):
        balanced_orders(0, 1, np.random.default_rng(0))
