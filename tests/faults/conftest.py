"""What every border has to hold: an input works, or is refused in one short line that prints; nothing else happens.

A test takes the fixture `border`, draws inputs from its seeded generators, and tries each:

    def test_arguments(border: Border) -> None:
        for draw in border.cases(100):
            border.tries(value := something(draw), lambda: read(value))

`INTROBENCH_FAULT_CASES` says how many inputs each test draws, in place of the number that it names;
`INTROBENCH_FAULT_SEED` which seed the first of them has, 0 by default.
"""

from __future__ import annotations

import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from introbench.errors import LONGEST, InputError

SECONDS = 10
"""The processor's time that an input may take: a machine that does other things beside may need more of the clock's."""

WAITING = 120
"""Seconds of the clock that an input may take: it may wait for something that does not come."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker("faults")


def wrong_with(message: str) -> str | None:
    """What is wrong with a message that a user is shown; None if nothing is."""
    if not message.strip():
        return "it says nothing"
    if len(message) > LONGEST:
        return f"it has {len(message)} characters"
    if not message.isprintable():
        return "it has several lines, or characters that do not print"
    return None


class Border:
    """Tries inputs, and remembers of each kind of failure the first."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.accepted = 0
        self.refused = 0

    def cases(self, usually: int, most: int | None = None) -> Iterator[random.Random]:
        """A generator of random numbers for each input, with a seed of its own.

        Args:
            usually: How many, unless the environment says.
            most: How many at most, where each takes long.
        """
        first = int(os.environ.get("INTROBENCH_FAULT_SEED", "0"))
        count = int(os.environ.get("INTROBENCH_FAULT_CASES", usually))
        for seed in range(first, first + min(count, most or count)):
            yield random.Random(seed)

    def tries(self, case: object, action: Callable[[], object]) -> bool:
        """Whether an input works; anything but a proper refusal is remembered as a failure."""
        try:
            with _in_time():
                action()
        except InputError as error:
            self.refused += 1
            if wrong := wrong_with(str(error)):
                self._fail(f"a message: {wrong}", case, str(error))
            return False
        except Exception as error:
            places = [frame for frame in traceback.extract_tb(error.__traceback__) if "introbench" in frame.filename]
            place = f"{places[-1].filename.rpartition('introbench/')[2]}:{places[-1].lineno}" if places else "elsewhere"
            self._fail(f"{type(error).__name__} in {place}", case, str(error))
            return False
        self.accepted += 1
        return True

    def _fail(self, kind: str, case: object, message: str) -> None:
        try:
            text = repr(case)
        except (ValueError, RecursionError):
            text = f"a {type(case).__name__} that cannot be written"
        self.failures.setdefault(kind, f"{text[:300]} -> {message[:300]!r}")


@contextmanager
def _in_time() -> Iterator[None]:
    """Interrupt what takes too long, where the platform can."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s, or {WAITING} s of waiting")

    limits = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WAITING))
    before = {sign: signal.signal(sign, interrupt) for sign, _, _ in limits}
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for sign, timer, _ in limits:
            signal.setitimer(timer, 0)
            signal.signal(sign, before[sign])


@pytest.fixture
def border() -> Iterator[Border]:
    """Tries inputs; the test fails at its end if one of them failed."""
    tried = Border()
    yield tried
    if tried.failures:
        pytest.fail("\n".join(f"{kind}: {first}" for kind, first in tried.failures.items()), pytrace=False)
