"""Private names of Inspect, in one place.

Inspect shows an error in one line, without a traceback, if it is a `PrerequisiteError`; there is no public name for it.
The public decorator of scorers registers a scorer under one name alone, and that of tasks needs the task itself.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from inspect_ai import Task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import RegistryInfo, registry_add, registry_info, set_registry_info
from inspect_ai.scorer import Scorer
from inspect_ai.scorer._scorer import scorer_register

__all__ = ["PrerequisiteError", "TaskByName", "find_scorer_as"]


class TaskByName:
    """A task of which Inspect knows the name, and whose module is imported once its arguments are asked for.

    The module registers the task itself, in place of this.

    Args:
        name: The task's name, with its package.
        imported: Imports the task.
    """

    def __init__(self, name: str, imported: Callable[[], Callable[..., Task]]) -> None:
        self._imported = imported
        registry_add(self, RegistryInfo(type="task", name=name, metadata={"attribs": {}, "params": []}))

    @property
    def __signature__(self) -> inspect.Signature:
        """The task's arguments."""
        return inspect.signature(self._imported())

    def __call__(self, *arguments: Any, **named: Any) -> Task:
        """Make the task."""
        return self._imported()(*arguments, **named)


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
