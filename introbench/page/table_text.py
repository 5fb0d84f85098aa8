"""A table of plain text and the sentences around it, for a page on which sentences wrap and tables do not."""

import re
from typing import NamedTuple

_COLUMNS = re.compile(r"\S  +\S|^[-= ]+$")
"""Lines of a table: their cells are at least two blanks apart, or they are the rule below its headers."""


class TableText(NamedTuple):
    """A table and what is said about it.

    Attributes:
        above: The paragraph above the table; empty if there is none.
        table: Its lines, as they are.
        below: The paragraph below it.
    """

    above: str
    table: str
    below: str


def table_text(text: str) -> TableText:
    """Part the lines of a table from the sentences above and below it.

    Args:
        text: A table of a report, which may be sentences alone.
    """
    lines = text.splitlines()
    of_table = [number for number, line in enumerate(lines) if _COLUMNS.search(line)]
    first, last = (of_table[0], of_table[-1] + 1) if of_table else (len(lines), len(lines))
    above, below = (" ".join(" ".join(part).split()) for part in (lines[:first], lines[last:]))
    return TableText(above, "\n".join(lines[first:last]), below)
