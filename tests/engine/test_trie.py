"""Token tries: every sequence can be read back, and a shared beginning is there once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trie_paths import path

from introbench.engine.requests import Tokens
from introbench.engine.trie import ROOT, chain, common_beginning, tries

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple), min_size=1, max_size=12)


def test_a_beginning_that_is_shared_is_there_once() -> None:
    sequences, (trie,) = tries([(7, 1, 5), (7, 1, 4), (7, 2), (7, 1, 4)], size=100)
    assert sequences == [(7, 1, 4), (7, 1, 5), (7, 2)]
    assert trie.tokens == (7, 1, 4, 5, 2)
    assert trie.parents == (ROOT, 0, 1, 1, 0)
    assert trie.ends == (2, 3, 4)
    assert trie.depths.tolist() == [0, 1, 2, 2, 1]
    assert trie.visible.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]


@given(sequences=SEQUENCES, size=st.integers(1, 20))
def test_every_sequence_ends_once_and_tries_keep_their_size(sequences: list[Tokens], size: int) -> None:
    ordered, made = tries(sequences, size)
    assert ordered == sorted(set(sequences))
    assert [path(trie, end) for trie in made for end in trie.ends] == ordered
    for trie in made:
        assert len(trie) <= size or len(trie.ends) == 1 or len(trie) == max(len(path(trie, end)) for end in trie.ends)
        paths = [path(trie, token) for token in range(len(trie))]
        assert len(set(paths)) == len(paths), "no beginning is there twice"
        assert all(parent < token for token, parent in enumerate(trie.parents))
        assert trie.depths.tolist() == [len(tokens) - 1 for tokens in paths]
        for token, tokens in enumerate(paths):
            assert trie.visible[token].sum() == len(tokens), "a token sees its ancestors and itself"


def test_a_chain_is_a_trie_of_one_sequence() -> None:
    trie = chain((5, 6, 7))
    assert (trie.tokens, trie.parents, trie.ends) == ((5, 6, 7), (ROOT, 0, 1), (2,))
    assert torch.equal(trie.visible, torch.ones(3, 3, dtype=torch.bool).tril())


@pytest.mark.parametrize(
    ("sequences", "most", "shared"),
    [
        ([(1, 2, 3), (1, 2, 4)], 9, 2),
        ([(1, 2, 3), (1, 2, 4)], 1, 1),
        ([(1, 2), (1, 2, 3)], 9, 1),  # each keeps a token after it
        ([(1, 2, 3)], 9, 2),
        ([(1,), (2,)], 9, 0),
    ],
)
def test_common_beginnings(sequences: list[Tokens], most: int, shared: int) -> None:
    assert common_beginning(sequences, most) == shared
