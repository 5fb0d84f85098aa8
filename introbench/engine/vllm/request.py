"""One conversation as a vLLM server gets it: its tokens, what is added to them, and what is read; and the answer."""

import base64
import hashlib
import inspect
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import zstandard
from torch import Tensor

from introbench.engine.requests import Tokens
from introbench.engine.vllm import server_hook
from introbench.errors import InputError

_HOOK_SOURCE = inspect.getsource(server_hook)

_MAKE_HOOK = "(lambda names: (exec(source, names), names['make_hook'])[1])({'__name__': 'introbench_server_hook'})"
"""An expression of which a server makes `make_hook`. It gets the source and not its bytecode, which a server with
another version of Python could not run."""


class _MakeHook:
    """Stands for `make_hook` in what is sent."""

    def __reduce__(self) -> Any:
        return eval, (_MAKE_HOOK, {"source": _HOOK_SOURCE})

    def __call__(self, *_arguments: object) -> Any:
        """Only a server calls it."""
        raise NotImplementedError


class _Hook:
    """Stands for a request's hook in what is sent."""

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> Any:
        return _MakeHook(), self._arguments


@dataclass(frozen=True, eq=False)
class ServerRequest:
    """One conversation under one injection.

    Attributes:
        tokens: Its tokens.
        additions: Block index to what is added to the block's output, float32 [terms, hidden].
        shares: The share of each term that a token gets, float32 [terms, tokens].
        read: Block index to the positions whose residual stream is read.
    """

    tokens: Tokens
    additions: Mapping[int, Tensor]
    shares: Tensor = field(repr=False)
    read: Mapping[int, Sequence[int]]

    @cached_property
    def steering_digest(self) -> str:
        """Digest of all that is added; equal for requests that may share a cache."""
        digest = hashlib.sha256()
        for block, added in sorted(self.additions.items()):
            digest.update(f"{block} {tuple(added.shape)}".encode() + added.numpy().tobytes())
        digest.update(self.shares.numpy().tobytes())
        return digest.hexdigest()

    def body(self, model: str) -> dict[str, Any]:
        """The request's JSON.

        Args:
            model: The name by which the server serves the model.
        """
        arguments = (
            len(self.tokens),
            {block: added.contiguous() for block, added in self.additions.items()},
            self.shares.contiguous(),
            {block: list(positions) for block, positions in self.read.items()},
        )
        hook = base64.b64encode(pickle.dumps(_Hook(*arguments))).decode("ascii")
        blocks = sorted({*self.additions, *self.read})
        hooks = [{"fn": {"cloudpickle": hook}, "layer_indices": blocks, "pre": False}]
        return {
            "model": model,
            "prompt": list(self.tokens),
            "max_tokens": 1,
            "temperature": 0,
            "return_token_ids": True,
            # vLLM keeps the steered keys of a prompt under its tokens alone: no other steering may find them there.
            "cache_salt": self.steering_digest,
            "vllm_xargs": {"apply_hooks": json.dumps(hooks)},
        }

    def states(self, answer: Mapping[str, Any], ranks: Mapping[int, frozenset[str]]) -> "States":
        """The residual stream that a server has read.

        Args:
            answer: The server's JSON.
            ranks: The processes of the server that run each block, as far as they are known.

        Raises:
            ServerError: The answer is of other tokens, or its hook did not see and steer what it was to.
        """
        try:
            (choice,) = answer["choices"]
            ran, saved = choice.get("prompt_token_ids"), (answer.get("hook_results") or {}).get("0")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError("gives an answer without a choice", "one", lasting=True) from None
        if ran is None or tuple(ran) != self.tokens:
            count = "tokens of which it says nothing" if ran is None else f"{len(ran)} tokens that are not those sent"
            raise ServerError(f"ran {count}", f"the {len(self.tokens)} that were sent", lasting=True)
        if saved is None:
            raise ServerError("gives nothing of the hook back", "a server with vllm-lens", lasting=True)
        if "error" in saved:
            raise ServerError(f"fails in our hook ({saved['error']})", "no error")
        steered = int(self.shares.any(dim=0).sum()) if len(self.shares) else 0
        found = {}
        for block in sorted({*self.additions, *self.read}):
            # The scheduler may run one more token after the last.
            seen = _counts(saved, f"seen {block} ")
            _expect(seen, range(len(self.tokens), len(self.tokens) + 2), f"tokens seen at block {block}")
            if block in self.additions:
                counts = _counts(saved, f"steered {block} ")
                _expect(counts, range(steered, steered + 1), f"tokens steered at block {block}")
                _expect_ranks(counts, frozenset(seen), block)
            _expect_ranks(seen, ranks.get(block, frozenset(seen)), block)
            found[block] = frozenset(seen)
        states = {}
        for block, positions in self.read.items():
            rows = [saved.get(f"state {block} {position}") for position in positions]
            if None in rows:
                raise ServerError(f"gives no residual stream of block {block}", "one")
            states[block] = torch.stack([_tensor(row) for row in rows])
        return States(states, str(saved["dtype"]), found, "is cut" in saved)


def _counts(saved: Mapping[str, Any], name: str) -> dict[str, int]:
    """What the processes of a server counted under a name, by rank."""
    return {key.removeprefix(name): int(count) for key, count in saved.items() if key.startswith(name)}


def _expect(counts: Mapping[str, int], expected: range, what: str) -> None:
    if not counts or any(count not in expected for count in counts.values()):
        raise ServerError(f"{what}: {', '.join(map(str, counts.values())) or 'none'}", str(expected.start))


def _expect_ranks(counts: Mapping[str, int], expected: frozenset[str], block: int) -> None:
    if counts.keys() != expected:
        ranks = ", ".join(sorted(counts)) or "none"
        raise ServerError(f"block {block} was run by ranks {ranks}", f"ranks {', '.join(sorted(expected))}")


class States(NamedTuple):
    """The residual stream that a server has read for one request.

    Attributes:
        by_block: Block index to the residual stream at the positions that were asked for, float32 [positions, hidden].
        dtype: The dtype that it has on the server.
        ranks: The processes of the server that ran each of the request's blocks.
        is_cut: Whether the server has cut the tokens into pieces.
    """

    by_block: dict[int, Tensor]
    dtype: str
    ranks: dict[int, frozenset[str]]
    is_cut: bool


class ServerError(InputError):
    """A server's answer to one request that cannot be used.

    Args:
        found: What it did; the sentence goes on from `the server`.
        expected: What was expected.
        lasting: Whether another attempt would give the same.
    """

    def __init__(self, found: str, expected: str, lasting: bool = False) -> None:
        super().__init__(f"{found}; expected {expected}")
        self.found, self.expected, self.lasting = found, expected, lasting


def _tensor(written: Mapping[str, Any]) -> Tensor:
    """A tensor as vllm-lens writes it into JSON."""
    raw = base64.b64decode(written["data"])
    if written.get("compression") == "zstd":
        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    return torch.from_numpy(np.frombuffer(raw, dtype=written["dtype"]).reshape(written["shape"]).copy())


def own_steering(request: ServerRequest, in_parts: bool = False) -> dict[str, Any]:
    """The same additions as a request's, as vllm-lens itself makes them: for a comparison, on short conversations.

    Args:
        request: The request; its tokens are run in one piece.
        in_parts: Whether each vector is added as two parts, which rounds otherwise.
    """
    blocks = sorted(request.additions)
    added = torch.stack([request.shares.T @ request.additions[block] for block in blocks])
    parts = [0.375 * added, 0.625 * added] if in_parts else [added]
    vectors = [
        {"activations": _written(part), "layer_indices": blocks, "scale": 1.0, "norm_match": False} for part in parts
    ]
    salt = f"own {len(parts)} {request.steering_digest}"
    return {"cache_salt": salt, "vllm_xargs": {"apply_steering_vectors": json.dumps(vectors)}}


def _written(tensor: Tensor) -> dict[str, Any]:
    """A float32 tensor as vllm-lens reads it from JSON."""
    data = base64.b64encode(zstandard.ZstdCompressor(level=1).compress(tensor.numpy().tobytes())).decode("ascii")
    shape = list(tensor.shape)
    return {
        "data": data,
        "dtype": "float32",
        "original_dtype": "torch.float32",
        "shape": shape,
        "compression": "zstd",
    }
