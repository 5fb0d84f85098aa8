"""Watches, from outside, what an engine does to a model: the tokens that it runs, and what is added to them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from introbench.engine.weights import Weights


class ObservedRun:
    """What was observed while an engine ran one conversation.

    Args:
        block: The block whose output is observed; None to observe tokens alone.
        vectors: What should be added there to each row, [rows, hidden].
        tokens: Length of the conversation.

    Attributes:
        block: The block.
        vectors: What should be added.
        ids: The token ids that the embeddings were given at each position.
        gained: Largest norm, over all passes, of what was added to the block's output before the next block, [rows,
            tokens].
        total: Sum of what was added over all positions and passes, [rows, hidden].
        blind_because: Why what was added could not be observed; empty if it could.
    """

    def __init__(self, block: int | None, vectors: Tensor, tokens: int) -> None:
        self.block = block
        self.vectors = vectors
        self.ids: list[set[int]] = [set() for _ in range(tokens)]
        self.gained = torch.zeros(len(vectors), tokens)
        self.total = torch.zeros_like(vectors)
        self.blind_because = "nothing is added before the last block" if block is None else ""
        self._positions: list[int] = []
        self._output: Tensor | None = None

    def begin(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        """Note the positions of a pass through the decoder, which begins."""
        positions = kwargs.get("position_ids")
        self._positions = [] if positions is None else positions[0].tolist()
        self._output = None

    def embed(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note the tokens that the embeddings are given."""
        if len(self._positions) != args[0].shape[1]:
            self.blind_because = self.blind_because or "the model is not told its positions"
            return
        for row in args[0].unique(dim=0).tolist():
            for position, token in zip(self._positions, row, strict=True):
                self.ids[position].add(token)

    def leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Note the block's output, to which nothing is added yet."""
        self._output = output[0] if isinstance(output, tuple) else output

    def enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compare what the next block is given with the block's output."""
        if self._output is None or self.blind_because:
            return
        arrived = args[0] if args else kwargs["hidden_states"]
        gained = (arrived.float() - self._output.to(arrived.device).float()).cpu()
        if gained.shape[0] not in (1, len(self.gained)):
            self.blind_because = "memory ran out, so that arms were run apart"
            return
        norms = gained.norm(dim=-1).nan_to_num(nan=torch.inf)
        self.gained[:, self._positions] = torch.maximum(self.gained[:, self._positions], norms)
        self.total += gained.sum(dim=1)


@contextmanager
def watching(
    weights_to_watch: Sequence[Weights], block: int | None, vectors: Tensor, tokens: int
) -> Iterator[ObservedRun]:
    """Watch an engine run one conversation while the context is open.

    Args:
        weights_to_watch: The weights that it may run.
        block: The block whose output is observed, not the last one; None to observe tokens alone.
        vectors: What should be added there to each row, float32 [rows, hidden].
        tokens: Length of the conversation.
    """
    observed = ObservedRun(block, vectors, tokens)
    with ExitStack() as stack:
        for parts in {weights.parts.decoder: weights.parts for weights in weights_to_watch}.values():
            stack.callback(parts.decoder.register_forward_pre_hook(observed.begin, with_kwargs=True).remove)
            stack.callback(parts.embeddings.register_forward_pre_hook(observed.embed).remove)
            if block is not None:
                # Registered before the hooks that steer, this one is given the output as the block has computed it.
                stack.callback(parts.layers[block].register_forward_hook(observed.leave).remove)
                following = parts.layers[block + 1]
                stack.callback(following.register_forward_pre_hook(observed.enter, with_kwargs=True).remove)
        yield observed
