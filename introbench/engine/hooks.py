"""Forward hooks that add to the residual stream, replace it or look at it, while a context is open."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from introbench.engine.forks import Forks
from introbench.errors import InputError

EVERYWHERE = slice(None)


@contextmanager
def steering(
    layers: Sequence[nn.Module],
    deltas: Mapping[int, Tensor],
    positions: slice = EVERYWHERE,
    profile: Tensor | None = None,
) -> Iterator[None]:
    """Add a vector to the output of some decoder blocks while the context is open.

    The sum is taken in float32 and rounded once to the model's dtype, so that a delta of zeros leaves every
    residual exactly as it was.

    Args:
        layers: The decoder blocks.
        deltas: Block index to a tensor [rows, hidden] (one vector per batch row), already scaled.
        positions: The token positions of the forward pass that are steered.
        profile: The share of the vector that each of these positions gets, [rows, positions]; None for all of it.
    """

    def hook(layer: nn.Module, delta: Tensor) -> Any:
        vectors = _sent_to(layer, delta.float())
        shares = None if profile is None else _sent_to(layer, profile.float())

        def add(_module: nn.Module, _args: Any, output: Any) -> Any:
            residual = _residual(output)
            added = vectors.to(residual.device)[:, None, :]
            if shares is not None:
                added = added * shares.to(residual.device)[:, :, None]
            if positions == EVERYWHERE:
                steered = (residual.float() + added).to(residual.dtype)
            else:
                steered = residual.clone()
                steered[:, positions] = (residual[:, positions].float() + added).to(residual.dtype)
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return add

    with ExitStack() as stack:
        for index, delta in deltas.items():
            stack.callback(layers[index].register_forward_hook(hook(layers[index], delta)).remove)
        yield


@contextmanager
def entering(layer: nn.Module, residual: Tensor, rows: int) -> Iterator[None]:
    """Let a forward pass enter `layer` with `rows` copies of another residual stream than that of the block before.

    Args:
        layer: A decoder block.
        residual: [1, tokens, hidden].
        rows: Number of batch rows from here on.
    """
    entry = residual.expand(rows, -1, -1)

    def replace(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (entry.to(args[0].device), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": entry.to(kwargs["hidden_states"].device)}

    handle = layer.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def forking(layer: nn.Module, origins: Tensor) -> Iterator[None]:
    """Copy rows of a block's output, so that arms which were one row can differ from there on.

    Args:
        layer: A decoder block.
        origins: The row of the output that each new row is a copy of, [new rows].
    """
    sent = _sent_to(layer, origins)

    def fork(_module: nn.Module, _args: Any, output: Any) -> Any:
        residual = _residual(output)
        forked = residual[sent.to(residual.device)]
        return (forked, *output[1:]) if isinstance(output, tuple) else forked

    handle = layer.register_forward_hook(fork)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def steering_arms(
    layers: Sequence[nn.Module],
    blocks: Iterable[int],
    forks: Forks,
    deltas: Mapping[int, Tensor],
    profile: Tensor | None,
) -> Iterator[None]:
    """Steer arms that are one row for as long as they are alike: a row forks where its arms part.

    Args:
        layers: The decoder blocks.
        blocks: The blocks that the pass runs.
        forks: Where the arms part.
        deltas: Block index to what is added to its output, [arms, hidden].
        profile: The share of it that each token gets, [arms, tokens]; None for all of it.
    """
    with ExitStack() as stack:
        for block in blocks:
            fork = forks.at(block)
            if fork is None:
                continue
            if len(fork.origins) > forks.rows_after(block - 1):
                stack.enter_context(forking(layers[block], fork.origins))
            if block in deltas:
                shares = None if profile is None else profile[fork.arms]
                stack.enter_context(steering(layers, {block: deltas[block][fork.arms]}, profile=shares))
        yield


@contextmanager
def skipping(layers: Iterable[nn.Module], as_tuples: bool) -> Iterator[None]:
    """Let some blocks hand on their input without computing anything.

    Args:
        layers: The decoder blocks.
        as_tuples: Whether this model's blocks return tuples.
    """

    def hand_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return (hidden_states,) if as_tuples else hidden_states

    with ExitStack() as stack:
        for layer in layers:
            before = layer.__dict__.get("forward")  # accelerate puts one there
            layer.forward = hand_on
            stack.callback(_restore, layer, before)
        yield


def _restore(layer: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        del layer.forward
    else:
        layer.forward = forward


@contextmanager
def before_each(layers: Iterable[nn.Module], call: Callable[[int], None]) -> Iterator[None]:
    """Call a function before each of some blocks, so that a long pass can be counted, or given up in between.

    Args:
        layers: The blocks.
        call: Is given the number of tokens of all rows that enter the block.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        call(states.shape[0] * states.shape[1])

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


@contextmanager
def looking_at(
    layers: Sequence[nn.Module], blocks: Iterable[int], positions: Sequence[int]
) -> Iterator[dict[int, Tensor]]:
    """Collect the residual stream after some blocks, at some positions.

    Yields:
        A dict that the forward pass fills: block index to a tensor [rows, positions, hidden].
    """
    seen: dict[int, Tensor] = {}

    def hook(block: int) -> Any:
        def look(_module: nn.Module, _args: Any, output: Any) -> None:
            residual = _residual(output)
            seen[block] = residual[:, torch.tensor(positions, dtype=torch.long, device=residual.device)]

        return look

    with ExitStack() as stack:
        for block in blocks:
            stack.callback(layers[block].register_forward_hook(hook(block)).remove)
        yield seen


@contextmanager
def input_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the residual streams that enter a module: a list to which each pass appends [rows, tokens, hidden]."""
    inputs: list[Tensor] = []

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.append(args[0] if args else kwargs["hidden_states"])

    handle = module.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def returns_tuples(decoder: nn.Module, layer: nn.Module, device: torch.device) -> bool:
    """Whether a model's blocks return tuples; runs a pass of one token to find out."""
    outputs: list[Any] = []
    handle = layer.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    try:
        decoder(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device), use_cache=False)
    finally:
        handle.remove()
    return isinstance(outputs[0], tuple)


def _sent_to(layer: nn.Module, tensor: Tensor) -> Tensor:
    """A copy of a tensor on a block's device, made ahead of a pass: within one, it would wait for all earlier work."""
    device = next((parameter.device for parameter in layer.parameters()), tensor.device)
    return tensor if device.type == "meta" else tensor.to(device)


def _residual(output: Any) -> Tensor:
    residual: Tensor = output[0] if isinstance(output, tuple) else output
    if residual.dim() != 3:
        raise InputError(
            f"a block's output of shape {tuple(residual.shape)}: expected [rows, positions, hidden]; choose another"
        )
    return residual
