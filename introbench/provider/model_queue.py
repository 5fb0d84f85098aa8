"""One call at a time, in order of arrival, except that a loaded model finishes its calls before another is loaded."""

from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import anyio


class ModelQueue:
    """Grants turns to callers of several models.

    The event loop stays free while a turn lasts, and within one model the order is that of the dataset.
    """

    def __init__(self) -> None:
        self._current: str | None = None
        self._busy = False
        self._waiting: list[tuple[str, anyio.Event]] = []
        self._calls: Counter[str | None] = Counter()
        self._lines: dict[Hashable, tuple[anyio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def line(self, model: str, key: Hashable) -> AsyncIterator[None]:
        """Stand in line with the model's other callers of the same key, and hold the head of the line.

        Until it leaves, a caller counts as one whom its model still has to serve.
        """
        lock, standing = self._lines.setdefault((model, key), (anyio.Lock(), []))
        standing.append(None)
        self._calls[model] += 1
        try:
            async with lock:
                yield
        finally:
            standing.pop()
            if not standing:
                self._lines.pop((model, key), None)
            self._calls[model] -= 1
            self._grant()

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Wait for a turn for `model`, and hold it."""
        place = (model, anyio.Event())
        self._waiting.append(place)
        self._grant()
        try:
            await place[1].wait()
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # the turn was granted while this caller was being cancelled
                self._pass_on()
            raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        self._busy = False
        self._grant()

    def _grant(self) -> None:
        """Give the turn to the next caller of the current model, or to whoever waits longest if it has none left."""
        same = [place for place in self._waiting if place[0] == self._current]
        if self._busy or not (same or (self._waiting and not self._calls[self._current])):
            return
        following = (same or self._waiting)[0]
        self._waiting.remove(following)
        self._busy, self._current = True, following[0]
        following[1].set()
