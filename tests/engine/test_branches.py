"""Branches of questions: every question can be read back, and questions that begin alike share their beginning."""

from hypothesis import given
from hypothesis import strategies as st
from trie_paths import path

from introbench.engine.branches import BEGINNING_TOKENS, TRIE_TOKENS, Branch, branches
from introbench.engine.requests import Tokens

FORMATS = st.lists(st.lists(st.integers(0, 2), max_size=40).map(tuple), min_size=1, max_size=4)
QUESTIONS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=30).map(tuple), min_size=1, max_size=12)


@given(formats=FORMATS, questions=QUESTIONS)
def test_every_question_ends_once_after_its_branchs_beginning(formats: list[Tokens], questions: list[Tokens]) -> None:
    asked = [form + question for form in formats for question in questions]
    laid_out = branches(asked)
    ended = [branch.beginning + path(trie, end) for branch in laid_out for trie in branch.tries for end in trie.ends]
    assert ended == [question for branch in laid_out for question in branch.questions] == sorted(set(asked))
    assert all(len(branch.beginning) <= BEGINNING_TOKENS for branch in laid_out)
    assert sum(branch.cost for branch in laid_out) <= Branch.of(sorted(set(asked))).cost


def test_questions_of_two_formats_are_two_branches() -> None:
    formats = [tuple(range(100, 115)), tuple(range(200, 215))]
    questions = [(question, *range(20)) for question in range(12)]
    laid_out = branches([form + question for form in formats for question in questions])
    assert [branch.beginning for branch in laid_out] == formats
    assert sum(branch.length for branch in laid_out) == 2 * (15 + 12 * 21), "no token is run twice"


def test_what_fits_one_trie_is_one_branch() -> None:
    (branch,) = branches([(1, 2, 3, 4), (1, 2, 5)])
    assert (branch.beginning, len(branch.tries)) == ((1, 2), 1)


def test_one_question_has_no_beginning_of_its_own() -> None:
    (branch,) = branches([tuple(range(TRIE_TOKENS + 1))])
    assert (branch.beginning, branch.length) == ((), TRIE_TOKENS + 1)


def test_a_question_that_all_others_begin_with_stays_with_them() -> None:
    short = tuple(range(20))
    asked = [short, *((*short, question, *range(40)) for question in range(5))]
    (branch,) = branches(asked)
    assert branch.beginning == short[:-1]
    assert list(branch.questions) == sorted(asked)


def test_questions_that_grow_out_of_each_other_are_laid_out_at_few_levels() -> None:
    texts = [tuple(range(length)) for length in range(100, 2100, 5)]
    laid_out = branches([(*text, 5000) for text in texts])
    assert sum(len(branch.questions) for branch in laid_out) == len(texts)


def test_what_saves_less_than_its_passes_take_is_no_branch() -> None:
    asked = [(header, *range(100, 120), question, *range(30)) for header in range(40) for question in (8, 9)]
    (branch,) = branches(asked)
    assert branch.beginning == ()
