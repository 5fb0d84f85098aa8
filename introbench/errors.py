"""The errors that a user can do something about."""


class InputError(ValueError):
    """Bad input, in one line: the offending value, what was expected, and what to do."""


class NonFiniteError(ArithmeticError):
    """The model produced NaN or infinite numbers; the line says under which injection and where."""
