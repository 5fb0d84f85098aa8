"""Shows how far a run is on whichever display Inspect has: in a counter where it has some, in lines elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import anyio.from_thread
from inspect_ai.util import display_counter, display_type

from introbench.errors import for_encoding
from introbench.progress import Lines

_COUNTER = "introbench"


class InspectScreen(Lines):
    """Shows lines and status on Inspect's display.

    The displays `full` and `rich` have counters below their own bar, as long as an evaluation runs in a terminal; the
    status with its bar is one of them. The display `log` logs what a counter is set to, and gets lines in that way. All
    others get printed lines, and `none` nothing.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)

    def status(self, text: str, bar: str) -> None:
        """Set the counter to the bar, or print a line at times."""
        if display_type() in ("full", "rich") and _is_terminal():
            _count(for_encoding(bar, sys.__stdout__))
        else:
            super().status(text, bar)

    def _print(self, text: str) -> None:
        if display_type() == "log":
            self._last = self._clock()
            if _count(text):
                return
        if display_type() != "none":
            super()._print(text)


def _count(text: str) -> bool:
    """Set the counter; False if no evaluation is running whose display could show it."""
    try:
        anyio.from_thread.run_sync(display_counter, _COUNTER, text)  # from a model call's worker thread
        return True
    except RuntimeError:
        pass
    with suppress(Exception):
        anyio.get_current_task()  # raises outside of an event loop
        display_counter(_COUNTER, text)
        return True
    return False


def _is_terminal() -> bool:
    return sys.__stdout__ is not None and sys.__stdout__.isatty()
