"""The errors that a user can do something about."""


class InputError(ValueError):
    """Bad input, in one line: the offending value, what was expected, and what to do."""


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
