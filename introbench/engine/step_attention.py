"""Attention of one more token of many texts: over the prompt, whose keys they share, and over each text's own tokens.

Texts that are written under the same injection have the same prompt with the same keys. Their queries are laid beside
each other over one copy of these keys, so that nothing is copied for each text or at each token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from introbench.engine.attention import KeysAndValues
from introbench.engine.attention_kernels import kernel_for, merged, with_sinks
from introbench.engine.forks import Forks


class SharedPrompt:
    """The keys and values of a prompt under arms, and which of their rows each text sees.

    Args:
        keys: Keys and values of the prompt, in each block as many rows as arms differ there.
        length: Number of the prompt's tokens.
        forks: Where the arms part; every text is an arm.
    """

    def __init__(self, keys: KeysAndValues, length: int, forks: Forks) -> None:
        self.keys = keys
        self.length = length
        self._forks = forks
        self._places: dict[int, tuple[Tensor, int, int]] = {}
        self._texts: Sequence[int] = ()

    def read_by(self, texts: Sequence[int]) -> None:
        """Take it that these texts go on."""
        self._texts = texts
        self._places.clear()

    def attend(
        self,
        block: int,
        query: Tensor,
        first_seen: int,
        scale: float,
        softcap: float | None,
        fused: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """Attention of the texts' queries over the prompt alone; None if they see nothing of it.

        Args:
            block: The block.
            query: [texts, key heads, groups, head size].
            first_seen: The first of the prompt's tokens that they see.
            scale: Multiplies the scores.
            softcap: Bound that scores approach by a tanh; None for none.
            fused: Whether to use the device's fused attention.
        """
        if first_seen >= self.length:
            return None
        keys, values = self.keys.read(block, first_seen, self.length)
        place, rows, most = self._place(block, query.device)
        heads, groups, size = query.shape[1:]
        # Texts beside each other over the keys that they share; rows with fewer texts than others are filled up.
        beside = query.new_zeros(rows * most, heads, groups, size)
        beside[place] = query
        beside = beside.view(rows, most, heads, groups, size).transpose(1, 2).flatten(2, 3)
        kernel = kernel_for(query, values, softcap, fused=fused)
        output, lse = kernel(beside, keys, values, None, scale)
        output = output.unflatten(2, (most, groups)).transpose(1, 2).flatten(0, 1)[place]
        return output, lse.unflatten(2, (most, groups)).transpose(1, 2).flatten(0, 1)[place]

    def _place(self, block: int, device: torch.device) -> tuple[Tensor, int, int]:
        """For each text its place among rows x most, the number of rows of keys, and the most texts that see a row."""
        rows = self._forks.rows_after(block - 1)
        if rows not in self._places:
            row_of = self._forks.row_of_arms(block - 1)
            counts = [0] * rows
            ranks = []
            for text in self._texts:
                ranks.append(counts[row_of[text]])
                counts[row_of[text]] += 1
            most = max(counts)
            places = [row_of[text] * most + rank for text, rank in zip(self._texts, ranks, strict=True)]
            self._places[rows] = torch.tensor(places, device=device), rows, most
        return self._places[rows]


class AttentionOfStep:
    """The attention of a pass in which each of some texts goes on by one token.

    Args:
        prompt: What stands before the texts.
        own: Keys and values of the texts' own tokens, which the pass adds its own to.
        written: How many tokens each text has before this one.
        fused: Whether to use the device's fused attention where it can be used.

    Attributes:
        attended: Whether any block's attention has been computed here.
    """

    def __init__(self, prompt: SharedPrompt, own: KeysAndValues, written: int, fused: bool) -> None:
        self.attended = False
        self._prompt = prompt
        self._own = own
        self._written = written
        self._fused = fused

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
        """Attention of one block; see `introbench.engine.attention.AttentionOfPass.attend`, with one token per row."""
        self.attended = True
        self._own.write(block, self._written, key, value)
        texts, heads, _, size = query.shape
        query = query.reshape(texts, key.shape[1], heads // key.shape[1], size)
        # A token sees `window` tokens, itself included: of the texts' own, then of the prompt.
        seen = self._written + 1 if window is None else min(window, self._written + 1)
        keys, values = self._own.read(block, self._written + 1 - seen, self._written + 1)
        output, lse = kernel_for(query, values, softcap, fused=self._fused)(query, keys, values, None, scale)
        first_seen = 0 if window is None else max(0, self._prompt.length + self._written + 1 - window)
        of_prompt = self._prompt.attend(block, query, first_seen, scale, softcap, self._fused)
        if of_prompt is not None:
            output, lse = merged((output, lse), of_prompt)
        if sinks is not None:
            output = with_sinks(output, lse, sinks.reshape(1, key.shape[1], query.shape[2]))
        return output.flatten(1, 2)[:, None].contiguous()
