"""One call at a time, in order of arrival, except that a loaded model finishes its queue before another is loaded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """Grants turns to callers of several models.

    The event loop stays free while a turn lasts, and within one model the order is that of the dataset.
    """

    def __init__(self) -> None:
        self._current: str | None = None
        self._busy = False
        self._waiting: list[tuple[str, anyio.Event]] = []

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Wait for a turn for `model`, and hold it."""
        if self._busy:
            place = (model, anyio.Event())
            self._waiting.append(place)
            try:
                await place[1].wait()
            except BaseException:
                if place in self._waiting:
                    self._waiting.remove(place)
                else:  # the turn was granted while this caller was being cancelled
                    self._pass_on()
                raise
        self._busy, self._current = True, model
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the next caller of the current model, or else to whoever waits longest."""
        if not self._waiting:
            self._busy = False
            return
        same = [place for place in self._waiting if place[0] == self._current]
        following = (same or self._waiting)[0]
        self._waiting.remove(following)
        following[1].set()
