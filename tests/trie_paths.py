"""Reads sequences back from tries."""

from introbench.engine.requests import Tokens
from introbench.engine.trie import ROOT, Trie


def path(trie: Trie, token: int) -> Tokens:
    """The tokens from the root to a token."""
    parent = trie.parents[token]
    return (() if parent == ROOT else path(trie, parent)) + (trie.tokens[token],)
