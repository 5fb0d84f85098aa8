"""A server ends with its client, however that ends."""

import subprocess
import sys
from pathlib import Path

import psutil

from introbench.engine.vllm import keeper

SERVER = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('up', flush=True); {}"
"""A server of two processes."""


def kept(then: str) -> tuple["subprocess.Popen[bytes]", list[psutil.Process]]:
    """A keeper whose server does something once it is up, and all processes below the keeper."""
    command = [sys.executable, keeper.__file__, sys.executable, "-c", SERVER.format(then)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    return process, psutil.Process(process.pid).children(recursive=True)


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_all_processes_end_when_the_client_lets_go() -> None:
    process, below = kept("import signal; signal.pause()")
    with process:
        assert len(below) == 2
        assert process.stdin
        process.stdin.close()
        assert_all_end(below)


def test_what_a_dead_server_leaves_ends_too() -> None:
    process, below = kept("import os; os.kill(os.getpid(), 9)")
    with process:
        assert process.wait(30) == -9 % 256
        assert_all_end(below)


def test_a_killed_client_takes_the_server_along() -> None:
    client = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_keeper import kept; " + (
        "process, below = kept('import signal; signal.pause()'); print(*[one.pid for one in below], flush=True); "
        "process.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", client], stdout=subprocess.PIPE) as process:
        assert process.stdout
        below = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert len(below) == 2
        process.kill()
        assert_all_end(below)
