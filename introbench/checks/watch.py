"""What an engine really does to a model: which tokens it runs, and what is added to them. Looked at from outside."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from introbench.engine.weights import Weights


class Watched:
    """What was seen while an engine ran one conversation.

    Args:
        block: The block whose output is looked at; None to look at tokens alone.
        vectors: What each row is to have added there, [rows, hidden].
        tokens: Length of the conversation.

    Attributes:
        block: The block.
        vectors: What is to be added.
        ids: Which token ids the embeddings were given at each position.
        gained: Norm of what a block's output gained on its way to the next block, the largest that was seen, [rows,
            tokens].
        total: Its sum over all positions and passes, [rows, hidden].
        blind: Why it cannot be said what was added; empty if it can.
    """

    def __init__(self, block: int | None, vectors: Tensor, tokens: int) -> None:
        self.block = block
        self.vectors = vectors
        self.ids: list[set[int]] = [set() for _ in range(tokens)]
        self.gained = torch.zeros(len(vectors), tokens)
        self.total = torch.zeros_like(vectors)
        self.blind = "nothing is added before the last block" if block is None else ""
        self._positions: list[int] = []
        self._output: Tensor | None = None

    def begin(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        """A pass through the decoder begins."""
        positions = kwargs.get("position_ids")
        self._positions = [] if positions is None else positions[0].tolist()
        self._output = None

    def embed(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        """The embeddings are given tokens."""
        if len(self._positions) != args[0].shape[1]:
            self.blind = self.blind or "the model is not told its positions"
            return
        for row in args[0].unique(dim=0).tolist():
            for position, token in zip(self._positions, row, strict=True):
                self.ids[position].add(token)

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """The block has an output, to which nothing is added yet."""
        self._output = output[0] if isinstance(output, tuple) else output

    def enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The next block is given what has become of it."""
        if self._output is None or self.blind:
            return
        arrived = args[0] if args else kwargs["hidden_states"]
        gained = (arrived.float() - self._output.to(arrived.device).float()).cpu()
        if gained.shape[0] not in (1, len(self.gained)):
            self.blind = "memory ran out, so that arms were run apart"
            return
        norms = gained.norm(dim=-1).nan_to_num(nan=torch.inf)
        self.gained[:, self._positions] = torch.maximum(self.gained[:, self._positions], norms)
        self.total += gained.sum(dim=1)


@contextmanager
def watching(several: Sequence[Weights], block: int | None, vectors: Tensor, tokens: int) -> Iterator[Watched]:
    """Watch an engine run one conversation while the context is open.

    Args:
        several: The weights that it may run.
        block: The block whose output is looked at, not the last one; None to look at tokens alone.
        vectors: What each row is to have added there, float32 [rows, hidden].
        tokens: Length of the conversation.
    """
    seen = Watched(block, vectors, tokens)
    with ExitStack() as stack:
        for parts in {weights.parts.decoder: weights.parts for weights in several}.values():
            stack.callback(parts.decoder.register_forward_pre_hook(seen.begin, with_kwargs=True).remove)
            stack.callback(parts.embeddings.register_forward_pre_hook(seen.embed).remove)
            if block is not None:
                # Registered before the hooks that steer, this one sees the output as the block has made it.
                stack.callback(parts.layers[block].register_forward_hook(seen.leave).remove)
                following = parts.layers[block + 1]
                stack.callback(following.register_forward_pre_hook(seen.enter, with_kwargs=True).remove)
        yield seen
