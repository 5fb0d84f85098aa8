"""ModelQueue: one at a time, in order, one model after the other, and none lost to a cancellation."""

import sys
from contextlib import suppress

import anyio
import pytest

from introbench.provider.model_queue import SWITCH_INTERVAL, ModelQueue


@pytest.mark.parametrize("backend", ["asyncio"])
def test_a_model_finishes_its_queue_before_the_next_one(backend: str) -> None:
    served: list[str] = []
    running = 0

    async def call(turns: ModelQueue, model: str, name: str) -> None:
        nonlocal running
        async with turns.turn(model):
            running += 1
            assert running == 1
            await anyio.lowlevel.checkpoint()
            served.append(name)
            running -= 1

    async def main() -> None:
        turns = ModelQueue()
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                for model in ("a", "b"):
                    tasks.start_soon(call, turns, model, f"{model}{number}")

    anyio.run(main, backend=backend)
    assert served == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_cancelled_callers_leave_no_gap() -> None:
    served: list[int] = []

    async def call(turns: ModelQueue, number: int, scope: anyio.CancelScope) -> None:
        with scope:
            async with turns.turn("a"):
                await anyio.lowlevel.checkpoint()
                served.append(number)

    async def main() -> None:
        turns, scopes = ModelQueue(), [anyio.CancelScope() for _ in range(5)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(call, turns, number, scope)
            await anyio.lowlevel.checkpoint()
            scopes[0].cancel()  # holds the turn
            scopes[2].cancel()  # waits for it

    anyio.run(main)
    assert served == [1, 3, 4]


def test_callers_in_line_go_on_one_by_one_and_others_pass_them() -> None:
    served: list[str] = []

    async def call(turns: ModelQueue, key: str, name: str, cancelled: bool = False) -> None:
        with anyio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            async with turns.line("model", key):
                await anyio.lowlevel.checkpoint()
                served.append(name)

    async def main() -> None:
        turns = ModelQueue()
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(call, turns, "a", f"a{number}", number == 1)
            tasks.start_soon(call, turns, "b", "b0")
        assert not turns._lines, "a line that nobody stands in is forgotten"

    anyio.run(main)
    assert [name for name in served if name.startswith("a")] == ["a0", "a2"]
    assert served.index("b0") < served.index("a2"), "another line does not wait for this one"


@pytest.mark.parametrize("cancelled", [None, "a2"])
def test_a_line_keeps_the_turn_for_those_whom_it_has_not_served(cancelled: str | None) -> None:
    read: list[str] = []
    known: set[str] = set()
    chunks = {"a0": "a0 a1", "a1": "a0 a1", "a2": "a2 a3", "a3": "a2 a3", "a4": "a4", "b0": "b0 b1", "b1": "b0 b1"}
    through: list[str] = []

    async def call(turns: ModelQueue, name: str) -> None:
        with anyio.CancelScope() as scope:
            async with turns.line("model", name[0], lambda: name in known) as place:
                if name == cancelled:
                    scope.cancel()
                if name not in known:
                    async with turns.turn("model", place):
                        await anyio.lowlevel.checkpoint()
                        read.append(chunks[name])
                        known.update(chunks[name].split())
                through.append(name)

    async def main() -> None:
        turns = ModelQueue()
        async with anyio.create_task_group() as tasks:
            for name in ("a0", "b0", "a1", "a2", "b1", "a3", "a4"):
                tasks.start_soon(call, turns, name)
        assert not turns._lines
        assert turns._next is None

    anyio.run(main)
    assert read == ["a0 a1", "a2 a3", "a4", "b0 b1"], "each is read once, and a line's readings come one after another"
    assert sorted(through) == sorted(chunks.keys() - {cancelled})


def test_whoever_comes_when_all_is_known_goes_on_at_once() -> None:
    async def main() -> None:
        turns = ModelQueue()
        async with turns.line("model", "a"):
            with anyio.fail_after(1):
                async with turns.line("model", "a", lambda: True):
                    pass

    anyio.run(main)


def test_threads_take_turns_quickly_while_a_model_computes_and_not_afterwards() -> None:
    seen: list[float] = []
    before = sys.getswitchinterval()

    async def main() -> None:
        turns = ModelQueue()
        with suppress(KeyError):
            async with turns.turn("a"):
                seen.append(sys.getswitchinterval())
                raise KeyError
        seen.append(sys.getswitchinterval())
        async with turns.turn("a"):
            seen.append(sys.getswitchinterval())

    anyio.run(main)
    assert seen == pytest.approx([SWITCH_INTERVAL, before, SWITCH_INTERVAL])
    assert sys.getswitchinterval() == before
