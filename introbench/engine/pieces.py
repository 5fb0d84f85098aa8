"""How the fast path cuts its work into pieces: a prior turn under some arms, and its questions as tries."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor, nn

from introbench.engine.forks import Forks
from introbench.engine.hooks import forking, steering
from introbench.engine.requests import Arms, Deltas, Tokens
from introbench.engine.trie import Trie, chain, common_beginning, tries
from introbench.engine.weights import Weights

TRIE_TOKENS = 64
"""Tokens of questions that share a mask. Larger tries repeat less and attend to more that is masked."""

CHAIN_TOKENS = 512
"""Tokens of the prior turn that a pass takes at most: its mask grows with the square of them."""

COMMON_TOKENS = 32
"""Most tokens with which all questions begin that are run ahead of them."""


@dataclass(frozen=True)
class Seen:
    """The residual stream at the last token of some questions, under some arms.

    Attributes:
        arms: The arms.
        questions: The questions.
        residuals: Block index to a tensor [rows, questions, hidden]; the last block's is always there.
        logits: The model's own logits [rows, questions, vocabulary], where they are what is to be read.
    """

    arms: Arms | None
    questions: Sequence[Tokens]
    residuals: Mapping[int, Tensor]
    logits: Tensor | None = None


@dataclass(frozen=True)
class Piece:
    """What one forward pass takes of a text: some of its tokens, from `begin` to `end`, which stand at `start`.

    If `keep`, what follows sees these tokens, so that their keys are kept.
    """

    tries: Sequence[Trie]
    start: int
    begin: int
    end: int
    keep: bool

    @property
    def tokens(self) -> list[int]:
        """Their ids."""
        return [token for trie in self.tries for token in trie.tokens]

    @property
    def ends(self) -> list[int]:
        """Which of them are the last of a sequence."""
        begins = accumulate((len(trie) for trie in self.tries), initial=0)
        return [begin + end for begin, trie in zip(begins, self.tries, strict=False) for end in trie.ends]


class Prior:
    """The prior turn: one sequence, which can be cut anywhere, and which other weights may read."""

    def __init__(self, tokens: Tokens, weights: Weights) -> None:
        self.length = len(tokens)
        self.weights = weights
        self._tokens = tokens

    def piece(self, begin: int, size: int) -> Piece:
        """The piece that begins at a token, of at most about `size` tokens; pieces are as equal as can be."""
        left = self.length - begin
        pieces = -(-left // min(size, CHAIN_TOKENS))
        end = begin + -(-left // pieces)
        return Piece([chain(self._tokens[begin:end])], begin, begin, end, keep=True)


class Questions:
    """What follows a prior turn: a beginning that all questions share, and tries on top of it."""

    def __init__(self, questions: Sequence[Tokens], start: int, weights: Weights) -> None:
        self.weights = weights
        shared = common_beginning(questions, COMMON_TOKENS)
        endings, self._tries = tries([question[shared:] for question in questions], TRIE_TOKENS)
        self._common = questions[0][:shared]
        self._start = start
        self.questions = [self._common + ending for ending in endings]
        self.length = shared + sum(len(trie) for trie in self._tries)

    def piece(self, begin: int, size: int) -> Piece:
        """The piece that begins at a token: the common beginning, or as many whole tries as fit `size` tokens."""
        offset = len(self._common)
        if begin < offset:
            return Piece([chain(self._common)], self._start, begin, offset, keep=True)
        taken: list[Trie] = []
        end = begin
        for trie in self._tries:
            if offset >= begin:
                if taken and offset + len(trie) > begin + size:
                    break
                taken.append(trie)
                end = offset + len(trie)
            offset += len(trie)
        return Piece(taken, self._start + len(self._common), begin, end, keep=False)


def given_to_arms(
    layers: Sequence[nn.Module], blocks: range, forks: Forks, deltas: Deltas, profile: Tensor | None
) -> Iterator[AbstractContextManager[None]]:
    """What arms are given at the outputs of some blocks, and the forks that come before it."""
    for block in blocks:
        fork = forks.at(block)
        if fork is None:
            continue
        if len(fork.origins) > forks.rows_after(block - 1):
            yield forking(layers[block], fork.origins)
        if block in deltas:
            shares = None if profile is None else profile[fork.arms]
            yield steering(layers, {block: deltas[block][fork.arms]}, profile=shares)
