"""Token tries: sequences with a common beginning share its tokens, so that these are run once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from introbench.engine.requests import Tokens

ROOT = -1


@dataclass(frozen=True)
class Trie:
    """Tokens that are run together; each attends to its ancestors, to itself and to what precedes the trie.

    Attributes:
        tokens: Token ids, every parent before its children.
        parents: Index of each token's parent, or `ROOT`.
        ends: Index of each sequence's last token.
    """

    tokens: Tokens
    parents: tuple[int, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def depths(self) -> Tensor:
        """Distance of each token from the root, [tokens]; a root token has 0."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent == ROOT else depths[parent] + 1)
        return torch.tensor(depths)

    @cached_property
    def visible(self) -> Tensor:
        """Which tokens each token attends to, bool [tokens, tokens]."""
        visible = torch.eye(len(self), dtype=torch.bool)
        for index, parent in enumerate(self.parents):
            if parent != ROOT:
                visible[index] |= visible[parent]
        return visible


def chain(tokens: Sequence[int]) -> Trie:
    """A trie of one sequence."""
    return Trie(tuple(tokens), tuple(range(ROOT, len(tokens) - 1)), (len(tokens) - 1,))


def common_beginning(sequences: Sequence[Tokens], most: int) -> int:
    """How many leading tokens all sequences share: at most `most`, and fewer than the shortest sequence has."""
    shared = 0
    limit = min(most, min(len(sequence) for sequence in sequences) - 1)
    while shared < limit and len({sequence[shared] for sequence in sequences}) == 1:
        shared += 1
    return shared


def tries(sequences: Iterable[Tokens], size: int) -> tuple[list[Tokens], list[Trie]]:
    """Put sequences into tries of a bounded size.

    Args:
        sequences: Token ids, at least one each; repeated ones count once.
        size: Most tokens in a trie; a longer sequence gets a trie of its own.

    Returns:
        The distinct sequences in the order in which they end in the tries, and the tries.
    """
    ordered = sorted(set(sequences))
    result: list[Trie] = []
    growing = _GrowingTrie()
    for sequence in ordered:
        if growing.tokens and len(growing.tokens) + growing.new(sequence) > size:
            result.append(growing.finish())
            growing = _GrowingTrie()
        growing.add(sequence)
    if growing.tokens:
        result.append(growing.finish())
    return ordered, result


class _GrowingTrie:
    """A trie that takes sequences in lexicographic order, so that only the latest one's path can be shared."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.ends: list[int] = []
        self._latest: Tokens = ()
        self._path: list[int] = []

    def _shared(self, sequence: Tokens) -> int:
        """How many leading tokens a sequence shares with the latest one."""
        shared = 0
        for token, other in zip(self._latest, sequence, strict=False):
            if token != other:
                break
            shared += 1
        return shared

    def new(self, sequence: Tokens) -> int:
        """How many tokens a sequence would add."""
        return len(sequence) - self._shared(sequence)

    def add(self, sequence: Tokens) -> None:
        del self._path[self._shared(sequence) :]
        for token in sequence[len(self._path) :]:
            self.parents.append(self._path[-1] if self._path else ROOT)
            self._path.append(len(self.tokens))
            self.tokens.append(token)
        self.ends.append(self._path[-1])
        self._latest = sequence

    def finish(self) -> Trie:
        return Trie(tuple(self.tokens), tuple(self.parents), tuple(self.ends))
