"""Starts a vLLM server on this machine with arguments under which its numbers can be trusted, and ends it."""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from introbench.engine.vllm import keeper
from introbench.errors import InputError
from introbench.progress import tick

TOKENS_IN_A_PASS = 2048
"""Most tokens in a forward pass of the server."""

FORCED = {
    "max-num-batched-tokens": str(TOKENS_IN_A_PASS),
    # Steered keys would be kept under their tokens alone; requests carry a salt of their steering as well.
    "no-enable-prefix-caching": "",
    "enforce-eager": "",
}
"""Arguments of `vllm serve` that a server of ours always has."""

_POLL = 0.5


@dataclass
class ServerLog:
    """What a server of ours prints.

    Attributes:
        path: The file.
        is_kept: Whether it stays when the server is ended: until the server has proved itself, and after a failure.
    """

    path: Path
    is_kept: bool = True


class Server:
    """A vLLM server on the loopback interface, which ends with this process.

    Args:
        source: The folder or Hub id of the model.
        arguments: Further arguments of `vllm serve` by name, without the dashes.
        forced: Arguments that hold whatever the further ones say.

    Attributes:
        base_url: Where it answers.
        log: What it prints.

    Raises:
        InputError: vLLM is not installed, or the server has ended; the message shows its last lines.
    """

    def __init__(self, source: str, arguments: Mapping[str, str], forced: Mapping[str, str] = FORCED) -> None:
        command = _vllm_command()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        given = {**arguments, **forced, "host": "127.0.0.1", "port": str(port)}
        options = [part for name, value in given.items() for part in (f"--{name}", value) if part]
        descriptor, name = tempfile.mkstemp(prefix="introbench-vllm-", suffix=".log")
        os.close(descriptor)
        self.log = ServerLog(Path(name))
        with self.log.path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, keeper.__file__, command, "serve", source, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what ends the client's group of processes leaves the keeper to end the server
                env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
            )
        atexit.register(self.close)

    def wait(self, seconds: float = 1800.0) -> None:
        """Wait until the server answers.

        Raises:
            InputError: It has ended, or does not answer in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            tick()
            if self._process.poll() is not None:
                raise self._failure(f"has ended with status {self._process.returncode}")
            try:
                if httpx.get(f"{self.base_url}/health", timeout=5.0, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(_POLL)
        raise self._failure(f"does not answer after {seconds:.0f} s")

    def close(self) -> None:
        """End the server and all of its processes; what it printed is removed unless it failed."""
        assert self._process.stdin is not None
        has_ended_by_itself = self._process.poll() is not None
        self._process.stdin.close()
        self._process.wait()
        atexit.unregister(self.close)
        if not (self.log.is_kept or has_ended_by_itself):
            self.log.path.unlink(missing_ok=True)

    def _failure(self, what: str) -> InputError:
        lines = self.log.path.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line] or lines
        return InputError(
            f"vLLM server: {what} ({' '.join(errors[-1:])[-300:]}); expected it to serve the model; its log is "
            f"{self.log.path}"
        )


def _vllm_command() -> str:
    """The `vllm` command: the one beside this Python, or else on the path.

    Raises:
        InputError: There is none.
    """
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.is_file() else shutil.which("vllm")
    if not found:
        raise InputError(
            "engine='vllm': no command vllm; expected vLLM and vllm-lens to be installed; run pip install "
            "'introbench[vllm]', or pass --model-base-url of a server that runs"
        )
    return found
