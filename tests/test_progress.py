"""What the user is told, and how a slow step is cancelled."""

import time

import pytest

from introbench import progress
from introbench.errors import SelfCheckError, first_line
from introbench.progress import cancel_by, heartbeat, listen, tell, tick


def test_a_step_is_told_at_its_beginning_and_while_it_goes_on(told: list[str]) -> None:
    with heartbeat("loading", seconds=0.02):
        assert told == ["loading"]
        time.sleep(0.1)
    assert len(told) >= 2
    assert set(told[1:]) == {"loading: 0 s"}
    after = len(told)
    time.sleep(0.05)
    assert len(told) == after, "nothing is told of a step that is over"


def test_lines_go_to_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "_listeners", list(progress._listeners))
    listen(lines.append)
    tell("memory ran out")
    assert lines == ["memory ran out"]


def test_a_tick_ends_a_step_that_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "_cancellation", [])
    tick()
    cancel_by(check)
    with pytest.raises(KeyboardInterrupt):
        tick()


def test_errors_are_one_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert str(SelfCheckError("spans", "token 3", "token 4")) == (
        'self-check "spans": found token 3, expected token 4; this run is not to be trusted'
    )
