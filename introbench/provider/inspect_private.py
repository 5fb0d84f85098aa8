"""Private names of Inspect, in one place.

Inspect shows an error in one line, without a traceback, if it is a `PrerequisiteError`; there is no public name for it.
The public decorator of scorers registers a scorer under one name alone.
"""

from collections.abc import Callable
from functools import wraps

from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import registry_info, set_registry_info
from inspect_ai.scorer import Scorer
from inspect_ai.scorer._scorer import scorer_register

__all__ = ["PrerequisiteError", "find_scorer_as"]


def find_scorer_as(name: str, scorer: Callable[[], Scorer]) -> None:
    """Let Inspect find a scorer by a further name; in logs it keeps its first one.

    Args:
        name: The further name.
        scorer: What the decorator has registered.
    """

    @wraps(scorer)
    def found() -> Scorer:
        return scorer()

    scorer_register(found, name)
    set_registry_info(found, registry_info(scorer))
