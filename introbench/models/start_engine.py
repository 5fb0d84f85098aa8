"""Starts the engine that a checkpoint asks for: on a transformers model in this process, or on a vLLM server."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from introbench.engine import Engine, TransformersEngine, Weights
from introbench.engine.attention import attention_implementation
from introbench.engine.memory import parse_budget
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.engine import VllmEngine
from introbench.engine.vllm.server import Server
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.progress import step


class Started(NamedTuple):
    """An engine that runs.

    Attributes:
        engine: The engine.
        fingerprint: Digest of the weights that it runs; see `introbench.models.checkpoint.weights_fingerprint`.
        facts: What it runs on, for the log.
    """

    engine: Engine
    fingerprint: str
    facts: dict[str, str]


def start_engine(checkpoint: Checkpoint) -> Started:
    """Load a model, or start its server, and prove that its numbers can be trusted.

    Args:
        checkpoint: The model.

    Raises:
        InputError: It cannot be loaded, or not be trusted.
    """
    return _on_server(checkpoint) if checkpoint.engine == "vllm" else _in_this_process(checkpoint)


def _in_this_process(checkpoint: Checkpoint) -> Started:
    model = checkpoint.load()
    engine = TransformersEngine(model, parse_budget(checkpoint.memory), products=checkpoint.products)
    facts = {
        "class": type(model).__name__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "attention": attention_implementation(model),
    }
    return Started(engine, weights_fingerprint(model), facts)


def _on_server(checkpoint: Checkpoint) -> Started:
    weights = Weights(checkpoint.load_first_block())
    with ExitStack() as stack:
        base_url, log = checkpoint.base_url, None
        if base_url is None:
            server = Server(checkpoint.source, {**_as_options(checkpoint.vllm or {}), **_of_checkpoint(checkpoint)})
            stack.callback(server.close)
            with step("starting a vLLM server"):
                server.wait()
            base_url, log = server.base_url, server.log
        client = ServerClient(base_url, log=log)
        stack.callback(client.close)
        _refuse_another_model(checkpoint, client)
        with step("comparing the server's numbers with each other and with the readout"):
            engine = VllmEngine(weights, client, checkpoint.n_layers)
        if log:
            log.is_kept = False
        engine.started = stack.pop_all()
    # The blocks above the first cannot be looked into: what decides them stands for them.
    given = [weights_fingerprint(weights.model), engine.dtype, checkpoint.revision_digest, checkpoint.base_url]
    digest = hashlib.sha256(f"{given} {sorted((checkpoint.vllm or {}).items())} {client.version}".encode())
    facts = {"class": type(weights.model).__name__, "dtype": str(engine.dtype).removeprefix("torch."), "device": "vLLM"}
    return Started(engine, digest.hexdigest(), facts)


def _of_checkpoint(checkpoint: Checkpoint) -> dict[str, str]:
    """What a checkpoint says of its weights, as arguments of `vllm serve`."""
    return {
        **({"dtype": checkpoint.dtype} if checkpoint.dtype else {}),
        **({"revision": checkpoint.revision, "tokenizer-revision": checkpoint.revision} if checkpoint.revision else {}),
        **({"trust-remote-code": ""} if checkpoint.trust_remote_code else {}),
    }


def _as_options(arguments: Mapping[str, object]) -> dict[str, str]:
    """Arguments of `vllm serve` as it takes them: a flag has no value, and `no-` before it if it is false."""
    return {
        f"no-{name}" if value is False else str(name): ""
        if isinstance(value, bool)
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
        for name, value in arguments.items()
    }


def _refuse_another_model(checkpoint: Checkpoint, client: ServerClient) -> None:
    """Refuse a server that was started with another model, as far as it says which."""
    served = str(client.facts.get("root") or client.model)
    if served not in (checkpoint.source, checkpoint.name):
        raise InputError(
            f"server {client.base_url}: serves {served}; expected {checkpoint.source}; pass --model inject/{served}, "
            f"or start a server of {checkpoint.name}"
        )
