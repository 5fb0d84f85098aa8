"""Draws the tokens of texts that are written side by side, so that no text depends on the others."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from introbench.engine.requests import Tokens


class Sampler:
    """The texts of some rows, as far as they are written.

    A token is the argmax of logits + temperature * noise, where the noise is standard Gumbel and drawn for each row
    (Gumbel-max sampling). Rows with the same seed get the same noise, so that injections can be compared in pairs. As
    all rows take their tokens in step, it is drawn once for them.

    Args:
        seeds: One seed per row, 0 or more.
        temperature: 0 for the most likely token.
        end: Ids of tokens that end a text.

    Attributes:
        finite: For each row, whether all of its distributions were finite so far; if not, its text has ended.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, end: Collection[int]) -> None:
        self._seeds = seeds
        self._generators = {seed: np.random.default_rng(seed) for seed in seeds}
        self._temperature = temperature
        self._end = end
        self._texts: list[list[int]] = [[] for _ in seeds]
        self._unfinished = dict.fromkeys(range(len(seeds)))
        self.finite = [True] * len(seeds)

    @property
    def unfinished(self) -> list[int]:
        """The rows whose texts go on."""
        return list(self._unfinished)

    @property
    def texts(self) -> list[Tokens]:
        """The tokens of every row so far, without the end token."""
        return [tuple(text) for text in self._texts]

    def add(self, rows: Sequence[int], logits: Tensor) -> list[int]:
        """Draw the next token of some rows, and end the texts that it ends.

        Args:
            rows: The rows, which are unfinished.
            logits: Their logits, float32 [rows, vocabulary].

        Returns:
            The token of each of these rows.
        """
        chosen = self._choose(rows, logits)
        is_finite = logits.logsumexp(dim=-1).isfinite().tolist()
        for row, token, finite in zip(rows, chosen, is_finite, strict=True):
            if finite and token not in self._end:
                self._texts[row].append(token)
            else:
                self.finite[row] = finite
                del self._unfinished[row]
        return chosen

    def _choose(self, rows: Sequence[int], logits: Tensor) -> list[int]:
        if self._temperature:
            places = {seed: place for place, seed in enumerate(dict.fromkeys(self._seeds[row] for row in rows))}
            # In float64: float32 noise is too coarse, or infinite, where it is largest and decides.
            drawn = [-np.log(self._generators[seed].standard_exponential(logits.shape[1])) for seed in places]
            noise = torch.from_numpy(np.stack(drawn, dtype=np.float32)).to(logits.device)
            logits = logits + self._temperature * noise[[places[self._seeds[row]] for row in rows]]
        tokens: list[int] = logits.argmax(dim=-1).tolist()
        return tokens
