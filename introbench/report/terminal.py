"""What a terminal gets: only what prints, in characters that it has, as long as somebody reads."""

import os
import sys

from introbench.errors import for_encoding, printable_lines


def say(text: str) -> None:
    """Print a text. Names from files may hold what a terminal would obey, or cannot show: that is escaped."""
    print(for_encoding(printable_lines(text), sys.stdout))


def stop_printing() -> None:
    """Let nothing more be written to standard output, whose reader has gone: Python would complain of it at the end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # it is no file of the system's
        return
    os.close(nowhere)
