"""How texts are cut into pieces of a pass."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel
from trie_paths import path

from introbench.engine import pieces
from introbench.engine.requests import Tokens
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


FORMATS = st.lists(st.lists(st.integers(0, 1), max_size=20).map(tuple), min_size=1, max_size=3)
QUESTIONS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30).map(tuple), min_size=1, max_size=8)


@given(formats=FORMATS, questions=QUESTIONS, size=st.integers(1, 100))
def test_questions_are_cut_between_tries_and_end_in_their_order(
    llama: PreTrainedModel, formats: list[Tokens], questions: list[Tokens], size: int
) -> None:
    asked = [form + question for form in formats for question in questions]
    text = pieces.QuestionTries(asked, 10, Weights(llama))
    cut: list[pieces.Piece] = []
    while not cut or cut[-1].end < text.length:
        cut.append(text.piece(cut[-1].end if cut else 0, size))
    assert [piece.begin for piece in cut] == [0, *(piece.end for piece in cut[:-1])]
    assert sum(len(piece.tokens) for piece in cut) == text.length
    ended: list[Tokens] = []
    beginning: Tokens = ()
    for piece in cut:
        if piece.keep:
            beginning = tuple(piece.tokens)
            assert piece.start == 10
            continue
        if piece.start == 10:
            beginning = ()
        assert piece.start == 10 + len(beginning)
        assert len(piece.tokens) <= size or len(piece.tries) == 1
        of_piece = [beginning + path(trie, end) for trie in piece.tries for end in trie.ends]
        assert [piece.tokens[end] for end in piece.ends] == [question[-1] for question in of_piece]
        ended += of_piece
    assert ended == text.questions
    assert sorted(ended) == sorted(set(asked))
