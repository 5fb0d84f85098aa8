"""What a process takes: its time, its memory, what it printed; and a failure that is not overlooked."""

import sys
from pathlib import Path

import pytest


def test_a_process_is_measured(tmp_path: Path) -> None:
    from measure import used_by

    script = "import os; held = b'x' * (300 * 2**20); print(os.environ['OF'], os.getcwd())"
    large = used_by([sys.executable, "-S", "-c", script], tmp_path, {"OF": "this process"})
    small = used_by([sys.executable, "-S", "-c", ""])
    assert large.printed == f"this process {tmp_path}\n"
    assert large.mebibytes > small.mebibytes + 250
    assert large.seconds > 0


def test_a_process_that_fails_is_an_error() -> None:
    from measure import used_by

    with pytest.raises(RuntimeError, match="ended with status 3:\nwhy"):
        used_by([sys.executable, "-S", "-c", "print('why'); raise SystemExit(3)"])
