"""One call at a time, in order of arrival, except for what is loaded or filled already.

A loaded model finishes its calls before another is loaded; and those who wait for the same prior turn under the same
arms finish theirs before the cache is filled anew.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio

SWITCH_INTERVAL = 5e-5
"""Seconds after which Python lets another thread go on while a model computes."""


@contextmanager
def quick_switches() -> Iterator[None]:
    """Let Python's threads take turns a hundred times as often as they do by default.

    A thread that runs a model lets go of the interpreter at each of its many operations, and has it back only when the
    thread that keeps the log has used up its interval: while that one is busy, a model takes up to fifty times as long
    by default, and twice as long with this interval, which costs the log nothing that can be measured.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@dataclass(eq=False)
class Place:
    """A caller's place in a line.

    Attributes:
        line: The line.
        is_served: Whether the caller needs no turn any more, since others have done what it needs.
        called: Set when the caller may go on.
    """

    line: "Line"
    is_served: Callable[[], bool]
    called: anyio.Event = field(default_factory=anyio.Event)


@dataclass(eq=False)
class Line:
    """Callers who wait for the same thing.

    Attributes:
        head: The one who may ask for a turn.
        waiting: Those behind it, in order of arrival.
        standing: How many have not left yet.
    """

    head: Place | None = None
    waiting: list[Place] = field(default_factory=list)
    standing: int = 0

    def move_up(self) -> Place | None:
        """Let the first one who is not served be the head, and all who are served go on.

        Returns:
            The new head, if there is one.
        """
        served = [place for place in self.waiting if place.is_served()]
        self.waiting = [place for place in self.waiting if place not in served]
        self.head = self.waiting.pop(0) if self.waiting else None
        for place in [*([self.head] if self.head else []), *served]:  # the head first: a turn may be waiting for it
            place.called.set()
        return self.head


class ModelQueue:
    """Grants turns to callers of several models.

    The event loop stays free while a turn lasts, and within one model the order is that of the dataset.
    """

    def __init__(self) -> None:
        self._current: str | None = None
        self._busy = False
        self._waiting: list[tuple[str, anyio.Event]] = []
        self._calls: Counter[str | None] = Counter()
        self._lines: dict[tuple[str, Hashable], Line] = {}
        self._next: Place | None = None

    @asynccontextmanager
    async def line(
        self, model: str, key: Hashable, is_served: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[Place]:
        """Stand in line with the model's other callers of the same key, until at its head or served.

        Until it leaves, a caller counts as one whom its model still has to serve.

        Args:
            model: The model.
            key: What the line waits for.
            is_served: Whether the caller needs no turn any more.
        """
        line = self._lines.setdefault((model, key), Line())
        place = Place(line, is_served)
        line.standing += 1
        self._calls[model] += 1
        try:
            if not is_served():
                if line.head is None:
                    line.head = place
                else:
                    line.waiting.append(place)
                    await place.called.wait()
            yield place
        finally:
            if place in line.waiting:
                line.waiting.remove(place)
            if line.head is place:
                following = line.move_up()
                if self._next is place:
                    self._next = following
            line.standing -= 1
            if not line.standing:
                self._lines.pop((model, key), None)
            self._calls[model] -= 1
            self._grant()

    @asynccontextmanager
    async def turn(self, model: str, place: Place | None = None) -> AsyncIterator[None]:
        """Wait for a turn for `model`, and hold it.

        Args:
            model: The model.
            place: Where the caller stands in line, if it does; the next turn is kept for the line's next head.
        """
        waiting = (model, anyio.Event())
        if place is not None and self._next is place:
            self._next = None
            self._waiting.insert(0, waiting)
        else:
            self._waiting.append(waiting)
        self._grant()
        try:
            await waiting[1].wait()
        except BaseException:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:  # the turn was granted while this caller was being cancelled
                self._pass_on(place)
            raise
        try:
            with quick_switches():
                yield
        finally:
            self._pass_on(place)

    def _pass_on(self, place: Place | None) -> None:
        if place is not None and place.line.head is place:
            self._next = place.line.move_up()
        self._busy = False
        self._grant()

    def _grant(self) -> None:
        """Give the turn to the next caller of the current model, or to whoever waits longest if it has none left."""
        same = [waiting for waiting in self._waiting if waiting[0] == self._current]
        if self._busy or self._next or not (same or (self._waiting and not self._calls[self._current])):
            return
        following = (same or self._waiting)[0]
        self._waiting.remove(following)
        self._busy, self._current = True, following[0]
        following[1].set()
