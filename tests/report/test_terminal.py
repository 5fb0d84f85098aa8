"""What a terminal gets: only what prints, in characters that it has, as long as somebody reads."""

import subprocess
import sys
from pathlib import Path

import pytest

from introbench.report.terminal import say

SWEEP = str(Path(__file__).parents[1] / "old_logs" / "sweep.eval")


def test_what_a_terminal_would_obey_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("a \x1b[31mred\x1b[0m table\nof two \ud800 lines\x07")
    assert capsys.readouterr().out == "a \\x1b[31mred\\x1b[0m table\nof two \\ud800 lines\\x07\n"


def test_a_reader_that_stops_and_a_closed_output_end_a_table_without_a_word() -> None:
    command = [sys.executable, "-m", "introbench.cli", "table", "--full", SWEEP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reads:
        assert reads.stdout
        assert reads.stderr
        reads.stdout.close()
        assert reads.stderr.read() == b""
    assert reads.returncode == 1
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, check=False)
    assert closed.stderr == b""
    ascii_only = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "ascii"}, check=True)
    assert ascii_only.stdout.isascii()
