"""How texts are cut into pieces of a pass."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from introbench.engine import pieces
from introbench.engine.requests import Tokens
from introbench.engine.trie import ROOT
from introbench.engine.weights import Weights


@given(length=st.integers(1, 2000), size=st.integers(1, 2000))
def test_a_prior_turn_is_cut_into_as_few_equal_pieces_as_fit(llama: PreTrainedModel, length: int, size: int) -> None:
    text = pieces.PriorTurn(tuple(range(length)), Weights(llama))
    begins = [0]
    while begins[-1] < length:
        begins.append(text.piece(begins[-1], size).end)
    sizes = [stop - start for start, stop in pairwise(begins)]
    most = min(size, pieces.CHAIN_TOKENS)
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-length // most)


@given(
    questions=st.lists(
        st.lists(st.integers(0, 3), min_size=1, max_size=60).map(tuple), min_size=1, max_size=8, unique=True
    ),
    size=st.integers(1, 100),
)
def test_questions_are_cut_between_tries_and_end_in_their_order(
    llama: PreTrainedModel, questions: list[Tokens], size: int
) -> None:
    text = pieces.QuestionTries(questions, 10, Weights(llama))
    cut: list[pieces.Piece] = []
    while not cut or cut[-1].end < text.length:
        cut.append(text.piece(cut[-1].end if cut else 0, size))
    assert [piece.begin for piece in cut] == [0, *(piece.end for piece in cut[:-1])]
    assert sum(len(piece.tokens) for piece in cut) == text.length
    common = [piece for piece in cut if piece.keep]
    assert cut[: len(common)] == common
    shared = tuple(token for piece in common for token in piece.tokens)
    assert len(common) <= 1
    assert all(piece.start == 10 + len(shared) for piece in cut[len(common) :])
    assert all(len(piece.tokens) <= size or len(piece.tries) == 1 for piece in cut[len(common) :])
    ended = [
        (*shared, *_path(trie.parents, trie.tokens, end))
        for piece in cut[len(common) :]
        for trie in piece.tries
        for end in trie.ends
    ]
    assert ended == text.questions
    assert sorted(ended) == sorted(questions)
    last_tokens = [piece.tokens[end] for piece in cut[len(common) :] for end in piece.ends]
    assert last_tokens == [question[-1] for question in text.questions]


def _path(parents: Tokens, tokens: Tokens, token: int) -> Tokens:
    before = () if parents[token] == ROOT else _path(parents, tokens, parents[token])
    return (*before, tokens[token])
