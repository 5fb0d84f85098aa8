"""Talks to a vLLM server with the vllm-lens plugin: many requests in flight, and every fault by name."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import httpx

from introbench.engine.requests import Tokens
from introbench.engine.vllm.request import ServerError, ServerRequest, States
from introbench.engine.vllm.server import ServerLog
from introbench.errors import InputError, first_line, shown
from introbench.progress import tick

_T = TypeVar("_T")

IN_FLIGHT = 256
"""Requests that are sent side by side; the server puts as many of them into a forward pass as fit."""

PAUSES = (1.0, 4.0, 15.0)
"""Seconds before another attempt."""

ATTEMPTS = len(PAUSES) + 1
"""How often a request is sent before the run ends: a server may be full for a moment, or begin a request anew."""

TOP = 20
"""The most likely tokens whose log-probabilities a server is asked for: as many as vLLM gives unless told otherwise."""

_TICK = 0.5
"""Seconds between looks at whether the run was cancelled."""

_BUSY = (408, 429, 502, 503, 504)
"""HTTP status of a server that may answer later."""

PATIENCE = 1800.0
"""Seconds until a request without an answer counts as lost: it may wait behind all others, and a CPU is slow."""


class ServerClient:
    """A server, and the model that it serves.

    Args:
        base_url: Of the server, with or without `/v1` at its end.
        timeout: Seconds until a request without an answer counts as lost.
        wait: Called with the seconds before another attempt.
        log: Its log, if this process has started it; kept once the server has failed.

    Attributes:
        base_url: Of the server.
        model: The name by which it serves its model.
        facts: What it says of it.
        version: Of vLLM.
        ranks: The processes of the server that run each block, once they are known; all of them have to answer.
        has_failed: Whether an answer could not be had, or not be used.

    Raises:
        InputError: There is no vLLM server there, or it serves several models.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float = PATIENCE,
        wait: Callable[[float], None] = time.sleep,
        log: ServerLog | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._wait, self._log = wait, log
        self.has_failed = False
        limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        timeouts = httpx.Timeout(timeout, connect=10.0)
        try:
            # A proxy of the environment does not know this machine's own addresses.
            is_here = httpx.URL(self.base_url).host in ("127.0.0.1", "localhost", "::1")
            self._http = httpx.Client(timeout=timeouts, limits=limits, trust_env=not is_here)
        except httpx.InvalidURL as error:
            raise self._unreadable("the address", error) from error
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="introbench-server")
        self._is_closed = False
        self.ranks: Mapping[int, frozenset[str]] = {}
        try:
            self.facts = self._served()
            self.version = str(self.get("/version").get("version", "unknown"))
        except BaseException:
            self.close()
            raise
        self.model = str(self.facts["id"])

    def close(self) -> None:
        """Let go of all connections, and of all requests that wait."""
        self._is_closed = True
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def states(self, requests: Sequence[ServerRequest]) -> list[States]:
        """The residual stream that each request reads.

        Raises:
            InputError: The server cannot be reached, refuses a request, or gives an answer that cannot be trusted.
        """
        futures = [self._threads.submit(self._states, request) for request in requests]
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, _TICK, FIRST_EXCEPTION)
                tick()
                for future in done:
                    future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]

    def logprobs(self, tokens: Tokens, steering: Mapping[str, Any]) -> dict[int, float]:
        """The server's own log-probabilities of the next token, by token: of as many tokens as it names.

        Args:
            tokens: The conversation.
            steering: Further keys of the request, see `introbench.engine.vllm.request.own_steering`.
        """
        body = {
            "model": self.model,
            "prompt": list(tokens),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": TOP,
            "return_tokens_as_token_ids": True,
            "return_token_ids": True,
            **steering,
        }

        def read() -> dict[int, float]:
            answer = self._post("/v1/completions", body)
            try:
                (first, *_) = answer["choices"][0]["logprobs"]["top_logprobs"]
                return {int(name.removeprefix("token_id:")): float(value) for name, value in first.items()}
            except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                raise ServerError("names no tokens", f"the {TOP} most likely ones", lasting=True) from None

        return self._attempted(read)

    def get(self, path: str) -> Any:
        """What the server says at a path, as JSON.

        Raises:
            InputError: It does not answer, or not with JSON.
        """
        try:
            answer = self._http.get(self.base_url + path)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, what: str, error: Exception) -> InputError:
        return InputError(
            f"server {self.base_url}: {what} cannot be read ({first_line(error)}); expected a vLLM server with "
            f"vllm-lens; start it, or correct --model-base-url"
        )

    def _served(self) -> Mapping[str, Any]:
        answer = self.get("/v1/models")
        models = answer.get("data") if isinstance(answer, dict) else None
        own = [model for model in models or [] if isinstance(model, dict) and not model.get("parent")]
        if len(own) != 1:
            raise InputError(
                f"server {self.base_url}: serves {shown([model.get('id') for model in own])}; expected one model; "
                f"start a server for the one to be measured"
            )
        return dict(own[0])

    def _states(self, request: ServerRequest) -> States:
        body = request.body(self.model)
        return self._attempted(lambda: request.states(self._post("/v1/completions", body), self.ranks))

    def _attempted(self, call: Callable[[], _T]) -> _T:
        """The result of a call, which is made again while the server is busy or has begun a request anew.

        Raises:
            InputError: All attempts failed; the message is that of the last one.
        """
        for pause in (*PAUSES, None):
            try:
                return call()
            except ServerError as fault:
                if pause is None or fault.lasting or self._is_closed:
                    attempts = "" if fault.lasting else f" ({ATTEMPTS} attempts)"
                    raise self.failure(f"{fault.found}{attempts}", fault.expected) from fault
                self._wait(pause)
        raise AssertionError("the last attempt returns or raises")

    def failure(self, found: str, expected: str) -> InputError:
        """An error that ends the run, and what it leaves behind.

        Args:
            found: What the server did.
            expected: What was expected.
        """
        self.has_failed = True
        place = ""
        if self._log:
            self._log.is_kept = True
            place = f", {self._log.path}"
        return InputError(
            f"server {self.base_url}: {found}; expected {expected}; look into the server's own log{place}"
        )

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """One attempt at a request.

        Raises:
            ServerError: The server is busy or has broken off, so that another attempt may succeed.
            InputError: The server refuses the request.
        """
        try:
            answer = self._http.post(self.base_url + path, json=body)
        except httpx.HTTPError as error:
            raise ServerError(f"does not answer ({first_line(error)})", "it to be up") from error
        if answer.status_code in _BUSY or answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            said = _message(answer)
            is_out_of_memory = "out of memory" in said.lower()
            expected = (
                "room for fewer tokens at once (max-num-seqs) or more memory" if is_out_of_memory else "an answer"
            )
            raise ServerError(f"answers with status {answer.status_code} ({said})", expected)
        if answer.is_error:
            raise InputError(
                f"server {self.base_url}: refuses a request of {len(body.get('prompt', ()))} tokens with status "
                f"{answer.status_code} ({_message(answer)}); expected a vLLM server with vllm-lens and room for the "
                f"conversation; see docs/scale.md"
            )
        try:
            return answer.json()
        except ValueError as error:
            raise ServerError("gives an answer that is no JSON", "JSON") from error


def _message(answer: httpx.Response) -> str:
    """What the server says of an error, in one line."""
    try:
        said = answer.json()
        said = said.get("error", said) if isinstance(said, dict) else said
        text = str(said.get("message", said) if isinstance(said, dict) else said)
    except ValueError:
        text = answer.text
    return first_line(ValueError(text))[:300]
