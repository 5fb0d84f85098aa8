"""A server that answers as vLLM with vllm-lens does, on a tiny model in this process, and fails as it is told to."""

import base64
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import zstandard
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from introbench.engine.architecture import find_parts


class FakeVllm:
    """What the server does.

    Args:
        model: Its model.
        root: What it says the model is.

    Attributes:
        piece: Most tokens of a request in one forward pass.
        fault: What goes wrong: `hook` (left out at one block), `raise` (the hook raises there), `restart` (the first
            piece is run twice), `restart-1` (that piece has one token), `rank` (another process leaves the hook out),
            `unsteered` (nothing is added), `tokens` (others than were sent), `plain` (no vllm-lens), `polluted` (plain
            requests find steered keys), `beside` and `nan` (numbers are others once many requests have been read).
        statuses: HTTP statuses of the next answers, before any that is right.
        message: What it says with them.
        answers: Whether it answers at all: if not, requests wait until it is set.
        requests: How many requests it has had.
        salts: The cache salts of the requests so far.
    """

    def __init__(self, model: PreTrainedModel, root: str) -> None:
        self.model, self.root = model, root
        self.layers = find_parts(model).layers
        self.piece = 5
        self.fault = ""
        self.statuses: list[int] = []
        self.message = "no room"
        self.answers = Event()
        self.answers.set()
        self.requests = 0
        self.salts: list[str | None] = []
        self._lock = Lock()
        self._steered: dict[tuple[int, ...], Any] = {}
        self._read = 0

    def get(self, path: str) -> Any:
        """The answer to a GET request."""
        if path == "/v1/models":
            config = self.model.config.get_text_config()
            positions = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", 4096)
            return {"data": [{"id": "served", "root": self.root, "max_model_len": positions}]}
        return {"version": "fake"} if path == "/version" else {}

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a completion request."""
        with self._lock, torch.inference_mode():
            self.salts.append(body.get("cache_salt"))
            tokens = tuple(body["prompt"])
            arguments = body.get("vllm_xargs", {})
            saved: dict[str, Any] = {}
            hooks = json.loads(arguments.get("apply_hooks", "[]"))
            vectors = json.loads(arguments.get("apply_steering_vectors", "[]"))
            if not hooks and not vectors and self.fault == "polluted":
                vectors = self._steered.get(tokens, vectors)
            if vectors:
                self._steered[tokens] = vectors
            with ExitStack() as stack:
                for hook in hooks:
                    stack.enter_context(self._hooked(hook, saved))
                for vector in vectors:
                    stack.enter_context(self._steered_by(vector))
                logits = self._run(tokens)
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        best = logprobs.topk(min(body.get("logprobs") or 1, len(logprobs)))
        top = {f"token_id:{int(token)}": float(value) for value, token in zip(*best, strict=True)}
        ran = [*tokens[:-1], 0] if self.fault == "tokens" else [*tokens]
        answer: dict[str, Any] = {"choices": [{"prompt_token_ids": ran, "logprobs": {"top_logprobs": [top]}}]}
        if hooks and self.fault != "plain":
            self._read += 1
            saved = {name: self._damaged(name, value) for name, value in saved.items()}
            if self.fault == "rank" and self._read == 1:  # at first there were two processes
                saved |= {f"{name[:-1]}1": value for name, value in saved.items() if name.startswith("seen ")}
            answer["hook_results"] = {"0": {name: _json(value) for name, value in saved.items()}}
        return answer

    def _damaged(self, name: str, value: Any) -> Any:
        """A number as it is, or as the fault makes it once as many requests have been read as one at a time."""
        if not name.startswith("state") or self._read < 20 or self.fault not in ("beside", "nan"):
            return value
        return value + 1 if self.fault == "beside" else value * torch.nan

    def _run(self, tokens: tuple[int, ...]) -> Tensor:
        pieces = [tokens[at : at + self.piece] for at in range(0, len(tokens), self.piece)]
        if self.fault.startswith("restart"):
            again = pieces[0][:1] if self.fault == "restart-1" else pieces[0]
            self.model(torch.tensor([again]), past_key_values=DynamicCache())
        cache = DynamicCache()
        for piece in pieces:
            logits = self.model(torch.tensor([piece]), past_key_values=cache).logits
        return logits[0, -1]

    @contextmanager
    def _hooked(self, hook: Mapping[str, Any], saved: dict[str, Any]) -> Iterator[None]:
        function = pickle.loads(base64.b64decode(hook["fn"]["cloudpickle"]))
        with ExitStack() as stack:
            for layer in hook["layer_indices"]:
                context = SimpleNamespace(layer_idx=layer, saved=saved)

                def run(_module: Any, _args: Any, output: Any, context: Any = context) -> Any:
                    residual = output[0] if isinstance(output, tuple) else output
                    if self.fault == "hook" and context.layer_idx == len(self.layers) - 1:
                        return output  # vllm-lens logs a hook's error and goes on
                    broken = self.fault == "raise" and context.layer_idx == len(self.layers) - 1
                    changed = function(context, _Broken() if broken else residual[0])
                    if changed is None or self.fault == "unsteered":
                        return output
                    return (changed[None], *output[1:]) if isinstance(output, tuple) else changed[None]

                stack.callback(self.layers[layer].register_forward_hook(run).remove)
            yield

    @contextmanager
    def _steered_by(self, vector: Mapping[str, Any]) -> Iterator[None]:
        written = vector["activations"]
        data = zstandard.ZstdDecompressor().decompress(base64.b64decode(written["data"]))
        raw = np.frombuffer(data, dtype=written["dtype"]).reshape(written["shape"])
        with ExitStack() as stack:
            for added, layer in zip(torch.from_numpy(raw.copy()), vector["layer_indices"], strict=True):
                seen = [0]

                def run(_module: Any, _args: Any, output: Any, added: Tensor = added, seen: list[int] = seen) -> Any:
                    residual = output[0] if isinstance(output, tuple) else output
                    changed = (residual + added[seen[0] : seen[0] + residual.shape[1]]).to(residual.dtype)
                    seen[0] += residual.shape[1]
                    return (changed, *output[1:]) if isinstance(output, tuple) else changed

                stack.callback(self.layers[layer].register_forward_hook(run).remove)
            yield


class _Broken:
    """A residual stream that a hook cannot work with."""

    @property
    def shape(self) -> list[int]:
        raise ValueError("broken")


def _json(value: object) -> object:
    if not isinstance(value, Tensor):
        return value
    assert value.untyped_storage().nbytes() == value.nbytes, "all that a view is a view of would be sent"
    array = value.numpy()
    data = base64.b64encode(zstandard.ZstdCompressor(level=1).compress(array.tobytes())).decode()
    return {
        "__type__": "tensor",
        "data": data,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "compression": "zstd",
    }


@contextmanager
def serving(fake: FakeVllm) -> Iterator[str]:
    """Serve it on the loopback interface; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, value: object, status: int = 200) -> None:
            written = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def do_GET(self) -> None:
            self._answer(fake.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests += 1
            if not fake.answers.wait(30):
                return
            if fake.statuses:
                self._answer({"error": {"message": fake.message}}, fake.statuses.pop(0))
            else:
                self._answer(fake.complete(body))

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512  # connections that wait: five are too few for all that a client opens at once

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
