"""Errors that a user can do something about, and warnings; and how a value is shown in their messages."""

import reprlib
from typing import IO

SHOWN = 60
"""Most characters of a value that a message shows."""

LONGEST = 300
"""Most characters of a message."""

_CUT = "..."
_IN_ASCII = {ord(sign): plain for sign, plain in {"·": ".", "━": "=", "╌": "-", "→": "->"}.items()}
"""What stands for our own signs where there is nothing but ASCII."""


class InputError(ValueError):
    """Bad input; one line that names the offending value, what was expected, and what to do.

    Whatever another library or a file put into the message, it becomes one line of at most `LONGEST` characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class SelfCheckError(InputError):
    """A self-check failed, so that the run's numbers cannot be trusted; one line that begins with the check's name.

    Args:
        name: The check.
        observed: What the run did or read.
        expected: What it should have.
    """

    def __init__(self, name: str, observed: str, expected: str) -> None:
        super().__init__(f'self-check "{name}": found {observed}, expected {expected}; this run is not to be trusted')


class ChangeWarning(UserWarning):
    """A run says something else about a model than the reference run."""


class _Shown(reprlib.Repr):
    """Python's notation of a value, without most of what is long or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 4 * SHOWN

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write integers of more than some thousands of digits.
        return super().repr_int(x, level) if x.bit_length() < 4 * SHOWN else f"<integer of {x.bit_length()} bits>"


_SHOWN = _Shown()


def shown(value: object) -> str:
    """A value as a message shows it: in Python's notation, in one line, of which the first `SHOWN` characters are left.

    The notation tells the type: text stands in quotation marks. What does not print is escaped.
    """
    text = printable(_SHOWN.repr(value))
    return text if len(text) <= SHOWN else text[: SHOWN - len(_CUT)] + _CUT


def one_line(text: str, most: int = LONGEST) -> str:
    """A text as one line: line ends become spaces, what does not print is escaped, long ones lose their middle.

    The end stays, because that is where messages say what to do.
    """
    line = printable(" ".join(text.split()))
    end = (most - len(_CUT)) // 2
    return line if len(line) <= most else line[: most - len(_CUT) - end] + _CUT + line[len(line) - end :]


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or its type if it says nothing."""
    lines = str(error).strip().splitlines()
    return one_line(lines[0], most=LONGEST // 2) if lines else type(error).__name__


def printable(text: str) -> str:
    """A text with all that does not print, line ends too, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """A text with all that does not print escaped, but for the ends of its lines."""
    return "\n".join(map(printable, text.split("\n")))


def for_encoding(text: str, stream: IO[str] | None) -> str:
    """A text in the characters that a stream's encoding has; others are escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_IN_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text
