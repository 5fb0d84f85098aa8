"""ModelQueue: one at a time, in order, one model after the other, and none lost to a cancellation."""

import anyio
import pytest

from introbench.provider.model_queue import ModelQueue


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


def test_a_line_is_served_one_by_one_and_lets_others_pass() -> None:
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
