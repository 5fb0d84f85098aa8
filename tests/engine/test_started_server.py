"""A server that is started here ends when it is told to, and what it printed stays where something failed."""

import sys
from pathlib import Path

import httpx
import pytest

from introbench.engine.vllm.server import Server

STAND_IN = f"""#!{sys.executable}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Healthy).serve_forever()
"""


@pytest.fixture
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a command vllm, healthy at once, beside what passes for this Python."""
    command = tmp_path / "vllm"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # beside which the command is looked for


@pytest.mark.usefixtures("_stand_in")
@pytest.mark.parametrize("failed", [False, True])
def test_what_a_server_printed_stays_if_something_failed(failed: bool) -> None:
    server = Server("model", {})
    server.wait()
    assert httpx.get(f"{server.base_url}/health", trust_env=False).is_success
    server.log.is_kept = failed
    server.close()
    assert server.log.path.exists() == failed
    server.log.path.unlink(missing_ok=True)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.base_url}/health", trust_env=False)
