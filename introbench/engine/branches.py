"""How questions are laid out in branches and tries, so that few of their tokens are run more than once.

Tries are small, since a token of a trie is masked against all others in it. Questions that begin alike are therefore a
branch: their beginning is run by itself, ahead of the branch's tries, and its keys are kept for these.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from introbench.engine.requests import Tokens
from introbench.engine.trie import Trie, common_beginning, tries

TRIE_TOKENS = 64
"""Most tokens in a trie of questions. Larger tries repeat less, and compute more attention that is masked."""

BEGINNING_TOKENS = 32
"""Most tokens of a branch's beginning: there is room for as many keys after those of the prior turn."""

_TOKENS_OF_A_PASS = 16
"""How many tokens of every arm a branch has to save for each of its forward passes, which take time whatever they hold:
as long as three tokens with 22 arms on two CPU cores, and longer with fewer arms and on a GPU."""


@dataclass(frozen=True)
class Branch:
    """Questions that begin alike.

    Attributes:
        questions: The questions, in the order in which they end in the tries.
        beginning: Token ids that all of them begin with; none for one question alone.
        tries: How they go on.
    """

    questions: Sequence[Tokens]
    beginning: Tokens
    tries: Sequence[Trie]

    @classmethod
    def of(cls, questions: Sequence[Tokens]) -> "Branch":
        """A branch of some questions, with as long a beginning as they have."""
        shared = common_beginning(questions, BEGINNING_TOKENS) if len(questions) > 1 else 0
        beginning = questions[0][:shared]
        endings, of_endings = tries([question[shared:] for question in questions], TRIE_TOKENS)
        return cls([beginning + ending for ending in endings], beginning, of_endings)

    @property
    def length(self) -> int:
        """Number of tokens, counting shared ones as often as they are run."""
        return len(self.beginning) + sum(len(trie) for trie in self.tries)

    @property
    def cost(self) -> int:
        """What it takes to run, in tokens."""
        return self.length + _TOKENS_OF_A_PASS * (2 if self.beginning else 1)


def branches(questions: Iterable[Tokens]) -> list[Branch]:
    """Lay out questions in as many branches as make them cheap.

    Args:
        questions: Token ids, at least one each; repeated ones count once.
    """
    return _branches(sorted(set(questions)))


def _branches(ordered: Sequence[Tokens]) -> list[Branch]:
    together = Branch.of(ordered)
    if len(together.tries) == 1:
        return [together]
    shared = len(together.beginning)
    if shared == BEGINNING_TOKENS:  # no beginning is longer, so parts would share no more than this
        return [together]
    parts = [list(part) for _, part in groupby(ordered, itemgetter(shared))]
    if len(parts) == 1:  # one question ends where the others go on
        return [together]
    apart = [branch for part in parts for branch in _branches(part)]
    return apart if sum(branch.cost for branch in apart) < together.cost else [together]
