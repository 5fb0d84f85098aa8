"""A table of plain text and the sentences around it, for a page on which sentences wrap and tables do not."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_COLUMNS = re.compile(r"\S  +\S|^[-= ]+$")
"""Lines of a table: their cells are at least two blanks apart, or they are the rule below its headers."""


class TableText(NamedTuple):
    """A table and what is said about it.

    Attributes:
        above: The paragraphs above the table. Lines that follow each other are one, but for the points of a list.
        table: Its lines, as they are.
        below: The paragraphs below it.
    """

    above: list[str]
    table: str
    below: list[str]


def table_text(text: str) -> TableText:
    """Part the lines of a table from the sentences above and below it.

    Args:
        text: A table of a report, which may be sentences alone.
    """
    lines = text.splitlines()
    of_table = [number for number, line in enumerate(lines) if _COLUMNS.search(line)]
    first, last = (of_table[0], of_table[-1] + 1) if of_table else (len(lines), len(lines))
    return TableText(_paragraphs(lines[:first]), "\n".join(lines[first:last]), _paragraphs(lines[last:]))


def _paragraphs(lines: Sequence[str]) -> list[str]:
    """Lines without the breaks within sentences; a point of a list begins a paragraph."""
    starts = [number for number, line in enumerate(lines) if number == 0 or line.startswith("- ")]
    parts = [lines[start:end] for start, end in pairwise([*starts, len(lines)])]
    return [paragraph for part in parts if (paragraph := " ".join(" ".join(part).split()))]
