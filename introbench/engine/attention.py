"""Cascade attention: over the keys of earlier tokens, and among the tokens of a pass, merged exactly.

A forward pass reads one or more tries of tokens; all of them see the tokens before the tries, none sees another trie.
The softmax over two sets of keys follows from the softmax over each and its log-sum-exp. So the long part needs no
mask, the keys are never copied per question, and the heads that share keys (grouped queries) are one matrix product.
transformers calls this attention through its public interface, under the name `NAME`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from introbench.engine.attention_kernels import AttentionKernel, kernel_for, merged, with_sinks
from introbench.engine.trie import Trie
from introbench.errors import InputError

NAME = "introbench_cascade"
_ALIGNED = 16


class KeysAndValues:
    """Keys and values of consecutive tokens, [rows, heads, length, head size] for each block that has run.

    Args:
        length: Number of tokens that there is room for.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._blocks: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, block: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values of a block for tokens from `start` on, both [rows, heads, tokens, head size]."""
        if block not in self._blocks:
            self._blocks[block] = tuple(  # type: ignore[assignment]
                part.new_empty(*part.shape[:2], self.length, part.shape[3]) for part in (keys, values)
            )
        stop = start + keys.shape[2]
        for kept, new in zip(self._blocks[block], (keys, values), strict=True):
            kept[:, :, start:stop] = new

    def read(self, block: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a block for the tokens from `start` to `stop`."""
        keys, values = self._blocks[block]
        return keys[:, :, start:stop], values[:, :, start:stop]

    def select(self, rows: Tensor) -> None:
        """Keep some of the rows, in the order of `rows`."""
        self._blocks = {
            block: (keys[rows.to(keys.device)], values[rows.to(values.device)])
            for block, (keys, values) in self._blocks.items()
        }

    @property
    def bytes(self) -> int:
        """Memory that the keys and values take."""
        return sum(part.nbytes for pair in self._blocks.values() for part in pair)


class EndOfPass(Exception):  # noqa: N818 (it is no error)
    """Ends a forward pass inside a block's attention, once that block's keys are kept, since no more is needed."""


class AttentionOfPass:
    """The attention of one forward pass: what its tokens see, in every block.

    Args:
        tries: The tokens, one trie after the other; tries do not see each other.
        start: Position of every trie's first token: all tokens of the pass see all tokens before it.
        before: Keys and values of the tokens before `start`.
        keep: Whether the pass adds its own keys and values to `before`.
        fused: Whether to use the device's fused attention where it can be used.
        last: The block whose keys end the pass, by `EndOfPass`; None to run through.
        pass_keys: Keys and values of all tokens of the tries at the block `last`: written by a pass that ends there,
            and read by a pass that goes on from there with the ends of the tries' sequences alone.
        ends_only: Whether this is the pass of those ends.

    Attributes:
        positions: Position of each token of the pass, [tokens].
        attended: Whether any block's attention has been computed here.
    """

    def __init__(
        self,
        tries: Sequence[Trie],
        start: int,
        before: KeysAndValues,
        keep: bool,
        fused: bool,
        last: int | None = None,
        pass_keys: KeysAndValues | None = None,
        ends_only: bool = False,
    ) -> None:
        self._asking = [torch.tensor(trie.ends) if ends_only else torch.arange(len(trie)) for trie in tries]
        self.positions = start + torch.cat([trie.depths[ask] for trie, ask in zip(tries, self._asking, strict=True)])
        self.attended = False
        self.last = last
        self._pass_keys = pass_keys
        self._ends_only = ends_only
        self._tries = tries
        self._stops = list(accumulate(len(trie) for trie in tries))
        self._start = start
        self._before = before
        self._keep = keep
        self._fused = fused
        self._masks: dict[Any, Tensor] = {}

    def attend(
        self,
        block: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Attention of one block.

        Args:
            block: Its index.
            query: [rows, heads, tokens, head size].
            key: [rows, key heads, tokens, head size].
            value: [rows, key heads, tokens, head size of the values].
            scale: Multiplies the scores.
            window: Number of tokens that a token sees, itself included; None for all.
            softcap: Bound that scores approach by a tanh; None for none.
            sinks: A score per head that takes part in the softmax without a value, [heads]; None for none.

        Returns:
            [rows, tokens, heads, head size of the values].

        Raises:
            EndOfPass: The keys of the block `last` are kept.
        """
        self.attended = True
        if self._keep:
            self._before.write(block, self._start, key, value)
        if block == self.last:
            if self._pass_keys is not None:
                self._pass_keys.write(block, 0, key, value)
            raise EndOfPass
        if self._ends_only:
            assert self._pass_keys is not None
            key, value = self._pass_keys.read(block, 0, self._pass_keys.length)
        rows, heads, tokens, size = query.shape
        groups = heads // key.shape[1]
        # Heads that share keys stand next to each other: [rows, key heads, groups, tokens, head size].
        query = query.reshape(rows, key.shape[1], groups, tokens, size)
        kernel = kernel_for(query, value, softcap, fused=self._fused)
        output, lse = self._within_pass(query, key, value, scale, window, kernel)
        if self._start:
            first_seen = 0 if window is None else max(0, self._start - window + 1)
            keys, values = self._before.read(block, first_seen, self._start)
            if keys.shape[2]:
                mask = self._window_mask(window, first_seen, groups, query)
                before, before_lse = kernel(query.flatten(2, 3), keys, values, mask, scale)
                before, before_lse = before.unflatten(2, (groups, tokens)), before_lse.unflatten(2, (groups, tokens))
                output, lse = merged((output, lse), (before, before_lse))
        if sinks is not None:
            output = with_sinks(output, lse, sinks.reshape(1, key.shape[1], groups, 1))
        return output.flatten(1, 2).transpose(1, 2).contiguous()

    def _within_pass(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, kernel: AttentionKernel
    ) -> tuple[Tensor, Tensor]:
        """Attention among the tokens of the pass, trie by trie."""
        groups = query.shape[2]
        outputs, sums = [], []
        begin = 0
        by_trie = query.split([len(asking) for asking in self._asking], dim=3)
        for index, (queries, stop) in enumerate(zip(by_trie, self._stops, strict=True)):
            mask = self._trie_mask(index, window, groups, query)
            output, lse = kernel(queries.flatten(2, 3), key[:, :, begin:stop], value[:, :, begin:stop], mask, scale)
            outputs.append(output.unflatten(2, (groups, queries.shape[3])))
            sums.append(lse.unflatten(2, (groups, queries.shape[3])))
            begin = stop
        if len(outputs) == 1:
            return outputs[0], sums[0]
        return torch.cat(outputs, dim=3), torch.cat(sums, dim=3)

    def _trie_mask(self, index: int, window: int | None, groups: int, like: Tensor) -> Tensor:
        key = (index, window, groups, like.dtype, like.device)
        if key not in self._masks:
            trie = self._tries[index]
            visible = trie.visible
            if window is not None:
                visible = visible & (trie.depths[:, None] - trie.depths[None, :] < window)
            self._masks[key] = _additive(visible[self._asking[index]], groups, like)
        return self._masks[key]

    def _window_mask(self, window: int | None, first_seen: int, groups: int, like: Tensor) -> Tensor | None:
        if window is None or int(self.positions.max()) - first_seen < window:
            return None
        key = ("before", window, groups, like.dtype, like.device)
        if key not in self._masks:
            visible = self.positions[:, None] - torch.arange(first_seen, self._start)[None, :] < window
            self._masks[key] = _additive(visible, groups, like)
        return self._masks[key]


def _additive(visible: Tensor, groups: int, like: Tensor) -> Tensor:
    """A mask to be added to scores, [groups x queries, keys], from booleans [queries, keys].

    It is finite, since a query that sees nothing must not become NaN. Its rows lie a multiple of `_ALIGNED` elements
    apart: the fused kernel for CUDA reads no others.
    """
    hidden = torch.finfo(like.dtype).min / 2
    queries, keys = visible.shape
    mask = torch.zeros(queries, -(-keys // _ALIGNED) * _ALIGNED)
    mask[:, :keys].masked_fill_(visible.logical_not(), hidden)
    return mask.repeat(groups, 1).to(like.device, like.dtype)[:, :keys]


class Attention(Protocol):
    """What computes the attention of a forward pass; see `AttentionOfPass.attend`."""

    def attend(
        self,
        block: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Attention of one block."""
        ...


_current: ContextVar[Attention] = ContextVar("introbench_attention")


def _cascade(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls; masks follow from the current pass, and the model's own are ignored."""
    if position_bias is not None:
        raise InputError(
            f"position bias of shape {tuple(position_bias.shape)}: expected attention without one; "
            "the engine's plain path runs such a model"
        )
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    block: Any = module.layer_idx
    return _current.get().attend(block, query, key, value, scale, sliding_window, softcap, s_aux), None


AttentionInterface.register(NAME, _cascade)


def attention_implementation(model: PreTrainedModel) -> str:
    """Name of the attention that a model uses, as transformers knows it: `sdpa`, `eager`, ...

    transformers looks the name up in a private attribute of the configuration whenever a block runs. It has no public
    way to read it, and its public setter checks the whole model again, which is too slow for every pass. The attribute
    is used in this file alone.
    """
    return str(model.config.get_text_config()._attn_implementation)


@contextmanager
def attending(model: PreTrainedModel, attention: Attention) -> Iterator[None]:
    """Let a model compute its attention by `attention` while the context is open."""
    config: Any = model.config.get_text_config()
    before = config._attn_implementation
    token = _current.set(attention)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _current.reset(token)
