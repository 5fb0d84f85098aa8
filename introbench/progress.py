"""Tells the user what goes on: lines that stay, and one status with the time left; and lets slow work be cancelled.

A run is planned before it begins (`plan`), and its work is counted while it is done (`part`, `tick`). A slow step
that is no part of that work is shown by its own name (`step`), with a count of its own if it has one.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol, TextIO

from introbench.errors import for_encoding

SECONDS_BETWEEN_LINES = 30.0
"""Time between two lines of status where a line cannot be overwritten."""

SECONDS_BETWEEN_UPDATES = 1.0
"""Time between two updates of a status that is overwritten."""

MEASURED_FROM = 0.02
"""Share of the work that has to be done before the rest is judged by its speed."""

_BAR = 20

Clock = Callable[[], float]


class Screen(Protocol):
    """Where the user is told something."""

    def line(self, text: str) -> None:
        """Show a line that stays."""

    def status(self, text: str, bar: str) -> None:
        """Show how far the work is, as a line of text or, where it can be overwritten, behind a bar."""

    def close(self) -> None:
        """Take a status off the screen that can be overwritten."""


class Lines:
    """Prints lines: those that stay once each, and a line of status at times.

    Args:
        stream: Where to print; None for the standard output of the moment.
        clock: Seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._said: set[str] = set()
        self._last = -SECONDS_BETWEEN_LINES

    def line(self, text: str) -> None:
        """Print a line, unless it has been printed before."""
        if text not in self._said:
            self._said.add(text)
            self._print(text)

    def status(self, text: str, bar: str) -> None:
        """Print a line of status, unless the last line was printed a short while ago, or was the same."""
        if self._clock() - self._last >= SECONDS_BETWEEN_LINES and text not in self._said:
            self._said.add(text)
            self._print(text)

    def close(self) -> None:
        """A line stays."""

    def _print(self, text: str) -> None:
        self._last = self._clock()
        stream = self._stream or sys.stdout
        with suppress(OSError, ValueError):  # whoever read it has gone, or closed it: the run goes on
            print(for_encoding(f"introbench: {text}", stream), file=stream, flush=True)


class Terminal:
    """Shows the status in the last line of a terminal, through rich, which keeps what others print above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 (most processes have another screen)

        self._console = Console(file=stream)
        self._status = self._console.status("")
        self._said: set[str] = set()

    def line(self, text: str) -> None:
        """Print a line above the status, unless it has been printed before."""
        if text not in self._said:
            self._said.add(text)
            self._console.print(f"introbench: {text}", markup=False, highlight=False, soft_wrap=True)

    def status(self, text: str, bar: str) -> None:
        """Overwrite the status."""
        self._status.update(for_encoding(bar, self._console.file))
        self._status.start()

    def close(self) -> None:
        """Take the status off the screen."""
        self._status.stop()


class Progress:
    """How much of some work is done, and how long the rest will take.

    Args:
        name: What is done.
        total: The work, in any unit; 0 if it is not known.
        clock: Seconds.

    Attributes:
        name: What is done.
        total: The work.
        done: How much of it is done.
        guess: How long all of it will take, in seconds, as was thought before any of it was done; None if nobody knows.
    """

    def __init__(self, name: str, total: float = 0, clock: Clock = time.monotonic) -> None:
        self.name = name
        self.total = total
        self.done = 0.0
        self.guess: float | None = None
        self._clock = clock
        self._begun: float | None = None
        self._paused = 0.0

    def begin(self) -> None:
        """Take it that the work begins now, unless it has begun."""
        if self._begun is None:
            self._begun = self._clock()

    def pause(self, seconds: float) -> None:
        """Some of the time since the work began was spent on other things."""
        if self._begun is not None:
            self._paused += seconds

    @property
    def elapsed(self) -> float:
        """Seconds spent on the work."""
        return 0.0 if self._begun is None else self._clock() - self._begun - self._paused

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take: by the speed so far, or at first by the guess; None if nobody knows."""
        if self.share >= MEASURED_FROM and self.elapsed > 0:
            return (1 - self.share) * self.elapsed / self.share
        return None if self.guess is None else (1 - self.share) * self.guess

    @property
    def text(self) -> str:
        """Share and time left, without a bar."""
        if not self.total:
            return f"{self.name}, {duration(self.elapsed)}" if self.elapsed >= SECONDS_BETWEEN_UPDATES else self.name
        return f"{self.name}: {self.share:.0%}{self._left}"

    @property
    def bar(self) -> str:
        """Share and time left behind a bar."""
        full = round(_BAR * self.share)
        return f"{'━' * full}{'╌' * (_BAR - full)} {self.share:.0%}{self._left}"

    @property
    def _left(self) -> str:
        return "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"


def duration(seconds: float) -> str:
    """A time as a person says it: 40 s, 6 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Reporter:
    """Keeps what a process does, and shows it.

    Args:
        screen: Where to show it.
        clock: Seconds.

    Attributes:
        screen: Where it is shown.
        run: The work that was planned, and how much of it is done.
    """

    def __init__(self, screen: Screen, clock: Clock = time.monotonic) -> None:
        self.screen = screen
        self._clock = clock
        self._steps: list[Progress] = []
        self._part_ends: float | None = None
        self._updated = -SECONDS_BETWEEN_UPDATES
        self.begin_run()

    def begin_run(self) -> None:
        """Forget what was planned and done."""
        self.run = Progress("trials", clock=self._clock)

    def plan(self, work: float, seconds: float | None = None) -> None:
        """Say how much work there is in all, done or not.

        Args:
            work: How much.
            seconds: How long it will take, as far as anybody knows.
        """
        self.run.total, self.run.guess = work, seconds

    @contextmanager
    def part(self, work: float) -> Iterator[None]:
        """A part of the planned work: it is counted by `tick` while it is done, and is `work` when it is done."""
        self.run.begin()
        self._part_ends = self.run.done + work
        try:
            yield
            self.run.done = self._part_ends
        finally:
            self._part_ends = None
        self.show()

    @contextmanager
    def step(self, name: str, total: float = 0) -> Iterator[Callable[[float], None]]:
        """A step that is no part of the planned work.

        Args:
            name: What is done.
            total: How much there is to do, if that is known.

        Yields:
            A function to call with what has been done of it.
        """
        step = Progress(name, total, self._clock)
        step.begin()
        self._steps.append(step)
        self.show()

        def advance(work: float = 1) -> None:
            step.done += work
            self._show_at_times()

        try:
            yield advance
        finally:
            self._steps.remove(step)
            if not self._steps and self._part_ends is None:
                self.run.pause(step.elapsed)
                if not self.run.total:
                    self.screen.close()

    def count(self, work: float) -> None:
        """Some of the part that is being done is done."""
        if self._part_ends is not None and not self._steps:
            self.run.done = min(self.run.done + work, self._part_ends)
        self._show_at_times()

    def show(self) -> None:
        """Show how far the work is."""
        texts = [step.text for step in self._steps[-1:]] + [self.run.text] * bool(self.run.total)
        bars = [self.run.bar] * bool(self.run.total)
        for step in self._steps[-1:]:
            bars += [step.bar, step.name] if step.total else [step.text]
        if texts:
            self._updated = self._clock()
            self.screen.status(", then ".join(texts), " · ".join(bars))

    def _show_at_times(self) -> None:
        if self._clock() - self._updated >= SECONDS_BETWEEN_UPDATES:
            self.show()


REPORTER = Reporter(Lines())
"""What this process does."""

_cancellation: list[Callable[[], None]] = []


def tell(line: str) -> None:
    """Show a line that stays; one that was shown before is not shown again."""
    REPORTER.screen.line(line)


def step(name: str, total: float = 0) -> AbstractContextManager[Callable[[float], None]]:
    """Show a slow step that is no part of a planned run; see `Reporter.step`."""
    return REPORTER.step(name, total)


def plan(work: float, seconds: float | None = None) -> None:
    """Say how much work there is in all; see `Reporter.plan`."""
    REPORTER.plan(work, seconds)


def part(work: float) -> AbstractContextManager[None]:
    """Do a part of the planned work; see `Reporter.part`."""
    return REPORTER.part(work)


def tick(work: float = 0) -> None:
    """Called often while something slow goes on.

    Args:
        work: How much of the planned work has been done since the last call.

    Raises:
        BaseException: What `cancel_by` was given raises it, to end what was cancelled.
    """
    for check in _cancellation:
        check()
    REPORTER.count(work)


def cancel_by(check: Callable[[], None]) -> None:
    """Call `check` at every tick; it raises an exception to end the step."""
    _cancellation[:] = [check]


def end_run() -> None:
    """The planned work is over: take the status off the screen, and forget the plan."""
    REPORTER.screen.close()
    REPORTER.begin_run()


def show_on(screen: Screen) -> None:
    """Show everything on another screen from now on."""
    REPORTER.screen = screen


def screen_for(stream: TextIO) -> Screen:
    """A screen for a process that has a stream for itself: a terminal, or lines in a file."""
    return Terminal(stream) if stream.isatty() else Lines(stream)
