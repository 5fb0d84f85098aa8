"""Where arms begin to differ."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from introbench.engine import Arms
from introbench.engine.forks import Forks


def test_arms_are_one_row_until_something_else_is_added_to_them() -> None:
    forks = Forks(4, [(1, ["a", "a", "a", "b"]), (3, ["a", "b", "a", "a"])])
    assert [forks.rows_after(block) for block in range(5)] == [1, 2, 2, 3, 3]
    assert forks.at(0) is None
    assert forks.at(2) is None
    first, second = forks.at(1), forks.at(3)
    assert first
    assert second
    assert (first.origins.tolist(), first.arms.tolist(), first.row_of.tolist()) == ([0, 0], [0, 3], [0, 0, 0, 1])
    assert (second.origins.tolist(), second.arms.tolist(), second.row_of.tolist()) == (
        [0, 0, 1],
        [0, 1, 3],
        [0, 1, 0, 2],
    )


def test_rows_are_spread_over_the_arms_that_they_stand_for() -> None:
    forks = Forks(3, [(1, ["a", "b", "a"])])
    clean, forked = torch.randn(1, 2, 4), torch.randn(2, 2, 4)
    assert torch.equal(forks.spread(0, clean), clean.expand(3, -1, -1))
    assert torch.equal(forks.spread(1, forked), forked[[0, 1, 0]])


@given(additions=st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), max_size=4))
def test_two_arms_share_a_row_exactly_while_the_same_was_added_to_them(additions: list[list[int]]) -> None:
    forks = Forks(5, enumerate(additions))
    for block in range(len(additions)):
        history = [tuple(row[arm] for row in additions[: block + 1]) for arm in range(5)]
        fork = forks.at(block)
        assert fork
        rows = fork.row_of.tolist()
        for arm in range(5):
            for other in range(5):
                assert (rows[arm] == rows[other]) == (history[arm] == history[other])
        assert forks.rows_after(block) == len(set(history))
        assert [rows[arm] for arm in fork.arms.tolist()] == list(range(len(set(history))))


def test_forks_of_arms_follow_from_their_vectors_and_shares() -> None:
    vector, other, nothing = torch.ones(4), torch.arange(4.0), torch.zeros(4)
    arms = Arms.steered(
        {1: torch.stack([nothing, vector, vector, nothing]), 2: torch.stack([nothing, vector, other, nothing])},
        {2: torch.stack([nothing, nothing, nothing, vector])},
    )
    assert [arms.forks.rows_after(block) for block in range(4)] == [1, 2, 4, 4]
    shares = torch.tensor([[1.0, 1.0], [1.0, 0.5]])
    in_part = Arms.steered({1: torch.stack([vector, vector])}, profile=shares)
    assert in_part.forks.rows_after(1) == 2
    nowhere = Arms.steered({1: torch.stack([nothing, nothing])}, profile=shares)
    assert nowhere.forks.rows_after(1) == 1
