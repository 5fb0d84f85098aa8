"""Private names of Inspect, in one place.

Inspect shows an error in one line, without a traceback, if it is a `PrerequisiteError`; there is no public name for it.
"""

from inspect_ai._util.error import PrerequisiteError

__all__ = ["PrerequisiteError"]
