"""How much work a run is, known before any weights load: block tokens, in the order in which the engine computes them.

A block token is one token of one row in one decoder block. The engine reports each of them with `introbench.progress`
while it computes it, so that a bar can say how much of the work is done. What is counted here is what the fast path
(`introbench.engine.packed_path`) enters into blocks, as long as memory suffices.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from introbench.engine.branches import branches
from introbench.engine.forks import Forks
from introbench.engine.packed_path import MOST_ARMS
from introbench.engine.requests import Tokens

Additions = Mapping[int, Sequence[Hashable]]
"""Steered block to a value per arm, equal where arms are given the same at that block's output, None for nothing."""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Arms that are run side by side, before their vectors are known.

    Attributes:
        rows: Number of arms.
        additions: What each is given at each steered block.
        filler: Stands for the weights that fill the prior turn's cache; None for those that answer.
    """

    rows: int
    additions: Additions
    filler: Hashable = None

    @property
    def first(self) -> int:
        """The first steered block."""
        return min(self.additions)

    def parts(self) -> Iterator["SideBySide"]:
        """The arms cut as the fast path cuts them: into parts of about equal size, of at most `MOST_ARMS`."""
        size = -(-self.rows // -(-self.rows // MOST_ARMS))
        for begin in range(0, self.rows, size):
            end = min(begin + size, self.rows)
            additions = {block: values[begin:end] for block, values in self.additions.items()}
            yield SideBySide(end - begin, additions, self.filler)

    def rows_in_blocks(self, n_layers: int) -> int:
        """The rows that enter the blocks from the first steered one on, summed over these blocks."""
        forks = Forks(self.rows, sorted(self.additions.items()))
        return 1 + sum(forks.rows_after(block) for block, _ in pairwise(range(self.first, n_layers)))


def work_of_texts(
    parts: Sequence[tuple[int, int, bool]], arms: SideBySide, texts: int, length: int, n_layers: int
) -> int:
    """Block tokens of texts that shared steps write (`introbench.engine.shared_steps`) as long as none ends early.

    Args:
        parts: The prompt's parts, as `introbench.engine.windows.Window.parts` cuts it.
        arms: What is added; each writes as many of the texts.
        texts: Number of texts of all arms.
        length: Most tokens of a text.
        n_layers: Number of decoder blocks.
    """
    forks = Forks(arms.rows, sorted(arms.additions.items()))
    forked = sum(forks.rows_after(block - 1) for block in range(n_layers))
    size = parts[-1][1]
    as_one = next((end for begin, end, is_steered in parts if begin == 0 and not is_steered and end < size), 0)
    return as_one * n_layers + (size - as_one) * forked + texts * (length - 1) * n_layers


class Workload:
    """Counts the work of jobs that a fast path does one after the other, and what it can use again.

    Args:
        n_layers: Number of decoder blocks.
    """

    def __init__(self, n_layers: int) -> None:
        self._n_layers = n_layers
        self._clean: tuple[Tokens, Hashable, int] | None = None
        self._filled: tuple[Tokens, SideBySide] | None = None

    def release(self) -> None:
        """Take it that nothing is kept for later jobs: something else was computed in between."""
        self._clean = self._filled = None

    def job(self, prior: Tokens, questions: Sequence[Tokens], arms: Sequence[SideBySide]) -> int:
        """Block tokens of asking questions on a prior turn.

        Args:
            prior: The prior turn.
            questions: The token sequences that follow it; repeated ones count once.
            arms: Each is run by itself, with the same questions; compared by identity.
        """
        length, ends = sum(branch.length for branch in branches(questions)), len(set(questions))
        work = 0
        asked_up_to: tuple[tuple[Tokens, Hashable, int], int] | None = None
        for side_by_side in sorted(arms, key=lambda one: one.first):
            before, first = self._clean, side_by_side.first
            is_filled = self._filled is not None and self._filled[0] == prior and self._filled[1] is side_by_side
            if before is None or before[:2] != (prior, side_by_side.filler) or (before[2] > first and not is_filled):
                before, asked_up_to = (prior, side_by_side.filler, 0), None
            work += len(prior) * max(0, first - before[2])
            self._clean = (prior, side_by_side.filler, max(first, before[2]))
            already = asked_up_to[1] if asked_up_to else 0
            work += length * max(0, first - already)
            asked_up_to = self._clean, max(first, already)
            parts = [*side_by_side.parts()]
            for part in parts:
                above = part.rows_in_blocks(self._n_layers)
                # The last block is run again, where questions end, after its keys have been made for all tokens.
                work += length * above + ends + (0 if is_filled else len(prior) * above)
            self._filled = (prior, side_by_side) if len(parts) == 1 else None
        return work
