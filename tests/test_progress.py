"""What the user is told, how much of a run is done and how long the rest takes, and how a slow step is cancelled."""

import io
from itertools import pairwise

import pytest

from introbench import progress
from introbench.errors import SelfCheckError, first_line, for_encoding
from introbench.progress import (
    SECONDS_BETWEEN_LINES,
    Lines,
    Progress,
    Reporter,
    Terminal,
    cancel_by,
    duration,
    screen_for,
    step,
    tell,
    tick,
)


class FakeClock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Shown:
    """A screen that keeps everything it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.bars: list[str] = []
        self.closed = 0

    def line(self, text: str) -> None:
        self.texts.append(text)

    def status(self, text: str, bar: str) -> None:
        self.texts.append(text)
        self.bars.append(bar)

    def close(self) -> None:
        self.closed += 1


def test_what_is_not_a_terminal_gets_at_most_one_line_of_status_in_30_seconds() -> None:
    clock, stream = FakeClock(), io.StringIO()
    reporter = Reporter(Lines(stream, clock), clock)
    reporter.plan(4000)
    times = []
    for part in range(4):
        with reporter.step(f"checking batch {part}"):
            pass
        with reporter.part(1000):
            for _ in range(500):
                clock.now += 0.4
                before = stream.tell()
                reporter.count(2)
                times += [clock.now] if stream.tell() > before else []
    assert len(times) >= 20
    assert min(later - earlier for earlier, later in pairwise(times)) >= SECONDS_BETWEEN_LINES
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 800 / SECONDS_BETWEEN_LINES + 1
    assert len(set(lines)) == len(lines), "nothing is printed twice"
    assert not any("\r" in line or "\x1b" in line or "━" in line for line in lines)


def test_a_line_that_stays_is_shown_once_and_delays_the_status() -> None:
    clock, stream = FakeClock(), io.StringIO()
    screen = Lines(stream, clock)
    screen.line("smollm2 is ready")
    screen.status("trials: 10%", "")
    screen.line("smollm2 is ready")
    clock.now += SECONDS_BETWEEN_LINES
    screen.status("trials: 10%", "")
    clock.now += SECONDS_BETWEEN_LINES
    screen.status("trials: 10%", "")
    assert stream.getvalue() == "introbench: smollm2 is ready\nintrobench: trials: 10%\n"


def test_a_terminal_has_one_status_that_is_taken_away(told: list[str]) -> None:
    stream = FakeTerminal()
    screen = screen_for(stream)
    assert isinstance(screen, Terminal)
    assert isinstance(screen_for(io.StringIO()), Lines)
    screen.status("trials: 10%", "━━ 10%")
    screen.line("[an event]")
    screen.line("[an event]")
    screen.close()
    assert stream.getvalue().count("introbench: [an event]") == 1
    assert "━━ 10%" in stream.getvalue()


def test_the_time_left_follows_the_work_that_is_done() -> None:
    clock = FakeClock()
    count = Progress("trials", 1000, clock)
    assert count.seconds_left is None
    count.guess = 500.0
    assert count.seconds_left == 500
    clock.now += 60
    count.begin()
    count.done, clock.now = 10, clock.now + 1
    assert count.seconds_left == pytest.approx(495), "the guess holds until enough has been done"
    count.done, clock.now = 250, clock.now + 49
    assert count.seconds_left == pytest.approx(150)
    assert count.text == "trials: 25%, 2 min left"
    assert count.bar == "━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 25%, 2 min left"
    clock.now += 100
    count.pause(100)
    assert count.seconds_left == pytest.approx(150), "what was spent on other things does not count"


@pytest.mark.parametrize("slow_start", [0.8, 1.2])
def test_after_a_tenth_the_time_left_is_right_within_a_quarter(slow_start: float) -> None:
    clock, shown = FakeClock(), Shown()
    reporter = Reporter(shown, clock)
    works = [1200, 800, 1000, 1500, 500, 2000, 3000]
    seconds = [work / 100 for work in works]
    seconds[0] *= slow_start
    reporter.plan(sum(works), 1000.0)
    for number, (work, taken) in enumerate(zip(works, seconds, strict=True)):
        with reporter.step("a step that is no part of it"):
            clock.now += 30
        with reporter.part(work):
            for _ in range(10):
                clock.now += taken / 10
                reporter.count(work / 10)
        left = reporter.run.seconds_left
        assert left == pytest.approx(sum(seconds[number + 1 :]), rel=0.25)


def test_parts_count_as_what_was_planned() -> None:
    reporter = Reporter(Shown(), FakeClock())
    reporter.plan(300)
    reporter.count(50)
    assert reporter.run.done == 0, "what is done outside of parts is not in the plan"
    with reporter.part(100):
        reporter.count(70)
        assert reporter.run.done == 70
        reporter.count(70)
        assert reporter.run.done == 100, "more than was planned for this part is not taken for that of another"
    with reporter.part(100):
        reporter.count(20)
        with reporter.step("a check"):
            reporter.count(50)
        assert reporter.run.done == 120
    assert reporter.run.done == 200
    cancelled = reporter.part(100)
    cancelled.__enter__()
    reporter.count(20)
    assert not cancelled.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert reporter.run.done == 220


def test_a_step_is_shown_by_its_name_its_share_and_its_time() -> None:
    clock, shown = FakeClock(), Shown()
    reporter = Reporter(shown, clock)
    with reporter.step("loading"):
        clock.now += 5
        reporter.count(1)
        with reporter.step("training", 4) as advance:
            clock.now += 2
            advance(1)
    assert shown.texts == ["loading", "loading, 5 s", "training: 0%", "training: 25%, 6 s left"]
    assert shown.bars[-1] == "━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 25%, 6 s left · training"
    assert shown.closed == 1, "when the last step is over"
    reporter.plan(100, 80.0)
    with reporter.step("loading"):
        pass
    assert shown.texts[-1] == "loading, then trials: 0%, 80 s left"
    assert shown.bars[-1] == "╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 0%, 80 s left · loading"
    assert shown.closed == 1


def test_a_status_is_not_updated_more_often_than_once_a_second() -> None:
    clock, shown = FakeClock(), Shown()
    reporter = Reporter(shown, clock)
    reporter.plan(100)
    with reporter.part(100):
        for _ in range(10):
            clock.now += 0.25
            reporter.count(1)
        assert len(shown.texts) <= 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_process_has_one_reporter(told: list[str]) -> None:
    tell("memory ran out")
    with step("loading"):
        pass
    assert told == ["memory ran out", "loading"]


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


def test_a_stream_without_our_signs_gets_ascii() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    Lines(stream).line("━╌ · தமிழ்")
    assert written.getvalue() == b"introbench: =- . \\u0ba4\\u0bae\\u0bbf\\u0bb4\\u0bcd\n"
    assert for_encoding("━╌ · é", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) == "━╌ · é"
    assert for_encoding("━╌ · é", None) == "━╌ · é"


def test_the_work_goes_on_when_nobody_reads_any_more() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Lines(Closed()).line("loading")
    closed = io.StringIO()
    closed.close()
    Lines(closed).line("loading")
