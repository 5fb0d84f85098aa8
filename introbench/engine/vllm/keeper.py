"""Runs a command until its client ends or closes this standard input, then ends all of the command's processes.

    python keeper.py COMMAND ARGUMENTS...

A server outlives a client that is killed, with all that it holds of a GPU. This process is told of any end of the
client by its own standard input, and of an end of the server's first process, which leaves the others running. It is
started as a file, so that it imports nothing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PATIENCE = 20.0
"""Seconds that the command has to end by itself."""


def keep(command: Sequence[str]) -> int:
    """Run a command until standard input is closed.

    Args:
        command: The command and its arguments.

    Returns:
        Its exit status.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_input() -> None:
        while os.read(0, 4096):
            pass
        _signal(process.pid, signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            _signal(process.pid, signal.SIGKILL)

    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        return process.wait()
    finally:
        _signal(process.pid, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    """Signal all processes of a group, if there are any left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    for interrupt in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interrupt, signal.SIG_IGN)  # meant for the client, whose end is what counts
    sys.exit(keep(sys.argv[1:]))
