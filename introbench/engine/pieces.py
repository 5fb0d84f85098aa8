"""Cuts a prior turn, or the questions that follow it, into pieces that one forward pass of the fast path takes."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from introbench.engine.branches import branches
from introbench.engine.requests import Tokens
from introbench.engine.trie import Trie, chain
from introbench.engine.weights import Weights

CHAIN_TOKENS = 512
"""Most tokens of the prior turn in one pass: the mask grows with the square of their number."""


@dataclass(frozen=True)
class Piece:
    """What one forward pass takes of a text.

    Attributes:
        tries: The tokens, as tries that do not attend to each other.
        start: Position in the conversation of every trie's first token.
        begin: Index of the piece's first token among the tokens of the text.
        end: Index after the piece's last token among the tokens of the text.
        keep: Whether later tokens attend to these, so that their keys and values must be kept.
    """

    tries: Sequence[Trie]
    start: int
    begin: int
    end: int
    keep: bool

    @property
    def tokens(self) -> list[int]:
        """Token ids, one trie after the other."""
        return [token for trie in self.tries for token in trie.tokens]

    @property
    def ends(self) -> list[int]:
        """Indices, among the piece's tokens, of those that are the last of a sequence."""
        begins = accumulate((len(trie) for trie in self.tries), initial=0)
        return [begin + end for begin, trie in zip(begins, self.tries, strict=False) for end in trie.ends]


class PriorTurn:
    """The prior turn: one sequence, which can be cut anywhere.

    Args:
        tokens: Its token ids.
        weights: The weights that read it; they may be others than those that answer.

    Attributes:
        length: Number of tokens.
    """

    def __init__(self, tokens: Tokens, weights: Weights) -> None:
        self.length = len(tokens)
        self.weights = weights
        self._tokens = tokens

    def piece(self, begin: int, size: int) -> Piece:
        """The piece from token `begin` on, of at most `size` tokens; the remaining pieces are about equally long."""
        left = self.length - begin
        pieces = -(-left // min(size, CHAIN_TOKENS))
        end = begin + -(-left // pieces)
        return Piece([chain(self._tokens[begin:end])], begin, begin, end, keep=True)


class QuestionTries:
    """The questions on a prior turn: branches of them, each with a common beginning and tries that follow it.

    Args:
        questions: Token ids of the questions.
        start: Position of their first token in the conversation.
        weights: The weights that answer.

    Attributes:
        questions: The questions, in the order in which they end in the tries.
        length: Number of tokens, counting shared ones as often as they are run.
    """

    def __init__(self, questions: Sequence[Tokens], start: int, weights: Weights) -> None:
        self.weights = weights
        self._branches = branches(questions)
        self._start = start
        self._begins = list(accumulate((branch.length for branch in self._branches), initial=0))
        self.questions = [question for branch in self._branches for question in branch.questions]
        self.length = self._begins[-1]

    def piece(self, begin: int, size: int) -> Piece:
        """The piece from token `begin` on: a branch's beginning, or as many of its tries as fit, at least one."""
        number = bisect_right(self._begins, begin) - 1
        branch, offset = self._branches[number], self._begins[number]
        if begin == offset and branch.beginning:
            return Piece([chain(branch.beginning)], self._start, begin, begin + len(branch.beginning), keep=True)
        offset += len(branch.beginning)
        taken: list[Trie] = []
        end = begin
        for trie in branch.tries:
            if offset >= begin:
                if taken and offset + len(trie) > begin + size:
                    break
                taken.append(trie)
                end = offset + len(trie)
            offset += len(trie)
        return Piece(taken, self._start + len(branch.beginning), begin, end, keep=False)
