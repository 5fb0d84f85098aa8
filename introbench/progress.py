"""Tells the user about slow steps and unusual events, one line at a time; and lets a slow step be cancelled."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]
"""Shows a line to the user."""

_listeners: list[Listener] = [lambda line: print(f"introbench: {line}", flush=True)]
_cancellation: list[Callable[[], None]] = []


def tell(line: str) -> None:
    """Show one line to the user."""
    _listeners[-1](line)


@contextmanager
def heartbeat(step: str, seconds: float = 10) -> Iterator[None]:
    """Tell that a step has begun, and every `seconds` that it still goes on, while the context is open."""
    tell(step)
    started, over = time.monotonic(), threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            tell(f"{step}: {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def tick() -> None:
    """Called often while a slow step goes on; raises what `cancel_by` was given to end a step that was cancelled."""
    for check in _cancellation:
        check()


def cancel_by(check: Callable[[], None]) -> None:
    """Call `check` at every tick; it raises an exception to end the step."""
    _cancellation[:] = [check]


def listen(listener: Listener) -> None:
    """Send all further lines to `listener`."""
    _listeners[:] = [listener]
