"""Errors that a user can do something about, and warnings."""


class InputError(ValueError):
    """Bad input; one line that names the offending value, what was expected, and what to do."""


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


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or its type if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
