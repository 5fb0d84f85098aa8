"""Where a run's status is shown: in a counter where Inspect's display has some, in lines elsewhere."""

import anyio
import anyio.to_thread
import pytest

from introbench.progress import SECONDS_BETWEEN_LINES
from introbench.provider import display
from introbench.provider.display import InspectScreen


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(display, "display_counter", lambda caption, value: counted.append((caption, value)))
    return counted


def show(screen: InspectScreen, in_thread: bool = True) -> None:
    """Show a status as a run does: from a model call's worker thread, or from the event loop."""

    async def main() -> None:
        if in_thread:
            await anyio.to_thread.run_sync(screen.status, "trials: 10%, 9 min left", "━━ 10%, 9 min left")
        else:
            screen.status("trials: 10%, 9 min left", "━━ 10%, 9 min left")

    anyio.run(main)


@pytest.mark.parametrize("in_thread", [True, False])
@pytest.mark.parametrize(
    ("kind", "terminal", "counted", "printed"),
    [
        ("full", True, "━━ 10%, 9 min left", ""),
        ("rich", True, "━━ 10%, 9 min left", ""),
        ("full", False, "", "introbench: trials: 10%, 9 min left\n"),
        ("rich", False, "", "introbench: trials: 10%, 9 min left\n"),
        ("conversation", True, "", "introbench: trials: 10%, 9 min left\n"),
        ("plain", True, "", "introbench: trials: 10%, 9 min left\n"),
        ("log", True, "trials: 10%, 9 min left", ""),
        ("none", True, "", ""),
    ],
)
def test_every_display_shows_the_status_once(
    kind: str,
    terminal: bool,
    counted: str,
    printed: str,
    in_thread: bool,
    counters: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(display, "display_type", lambda: kind)
    monkeypatch.setattr(display, "_is_terminal", lambda: terminal)
    show(InspectScreen(), in_thread)
    assert counters == ([("introbench", counted)] if counted else [])
    assert capsys.readouterr().out == printed


def test_a_log_gets_a_line_at_times(counters: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(display, "display_type", lambda: "log")
    screen = InspectScreen(lambda: now[0])

    async def main() -> None:
        for second in range(100):
            now[0] = float(second)
            screen.status(f"trials: {second}%", "")

    anyio.run(main)
    assert len(counters) == 100 // SECONDS_BETWEEN_LINES + 1


def test_outside_of_a_run_lines_are_printed(
    counters: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "display_type", lambda: "log")
    InspectScreen().line("smollm2 is ready")
    assert counters == []
    assert capsys.readouterr().out == "introbench: smollm2 is ready\n"
