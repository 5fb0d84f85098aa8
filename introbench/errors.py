"""The errors that a user can do something about, and the warnings."""


class InputError(ValueError):
    """Bad input, in one line: the offending value, what was expected, and what to do."""


class SelfCheckError(InputError):
    """A self-check failed, so that the run's numbers cannot be trusted; one line that begins with the check's name."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f'self-check "{name}": found {found}, expected {expected}; this run is not to be trusted')


class ChangeWarning(UserWarning):
    """Something that a run says about a model is not what a baseline says."""


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
