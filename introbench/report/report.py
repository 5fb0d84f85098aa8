"""What a log's table consists of: the conclusion in words, the tables of the first screen, and all others."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

WIDTH = 100
"""Columns of the first screen; only the tables of `--full` are wider."""

MOST_LINES = 19
"""Most lines of a conclusion, which a person reads at a glance."""


@dataclass(frozen=True)
class Report:
    """What a task says about its trials.

    Attributes:
        conclusion: Sentences, the verdict or headline first: what was found, with its interval; what it rests on; what
            would change it. Each begins a line.
        tables: The tables that are always printed: probabilities as published, and the numbers of the headline.
        further: All other tables, with what their columns mean; printed with `--full`.
    """

    conclusion: Sequence[str]
    tables: Sequence[str] = ()
    further: Sequence[str] = ()

    def paragraphs(self, *, full: bool = False) -> list[str]:
        """What is printed, in its order.

        Args:
            full: Whether all tables follow.
        """
        return ["\n".join(map(wrapped, self.conclusion)), *self.tables, *(self.further if full else ())]


def wrapped(sentence: str) -> str:
    """A sentence in lines of the first screen; from the second line on they are indented."""
    return textwrap.fill(sentence, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of texts as they are, the first column to the left and the others to the right, without a rule."""
    align = ("left", *("right",) * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=align if rows else None)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def counted(count: float, what: str) -> str:
    """A number with what is counted, which has an `s` if it is not one: `1 concept`, `2 concepts`."""
    return f"{count:g} {what}" if count == 1 else f"{count:g} {what}s"
