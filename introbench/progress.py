"""One line for a person about a slow step or something unusual; whoever shows it can be replaced."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = [lambda line: print(f"introbench: {line}", flush=True)]
_cancellation: list[Callable[[], None]] = []


def tell(line: str) -> None:
    """Show one line about a slow step or something unusual."""
    _listeners[-1](line)


@contextmanager
def heartbeat(step: str, seconds: float = 10) -> Iterator[None]:
    """Tell that a step has begun, and every few seconds that it still goes on."""
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
    """Called often while a step goes on; this is where a step whose caller was cancelled ends, by an exception."""
    for check in _cancellation:
        check()


def cancel_by(check: Callable[[], None]) -> None:
    """Ask `check` at every tick; it raises to end the step."""
    _cancellation[:] = [check]


def listen(listener: Listener) -> None:
    """Send all further lines to `listener`."""
    _listeners[:] = [listener]
