"""Which tokens of a chat and of its continuation are steered."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from introbench.engine.requests import NO_DELTAS, Arms, Deltas


@dataclass(frozen=True)
class Window:
    """Tokens that are steered.

    Attributes:
        begin: Index of the first in the prompt.
        end: Index after the last in the prompt; None to steer to the end, the continuation too.
    """

    begin: int = 0
    end: int | None = None

    def check(self, prompt: int) -> None:
        """Refuse a window that lies outside of a prompt, or holds nothing of it.

        Args:
            prompt: Number of the prompt's tokens.
        """
        if not 0 <= self.begin < (prompt if self.end is None else self.end) <= prompt:
            raise ValueError(
                f"window {self.begin}:{self.end} of {prompt} tokens: expected 0 <= begin < end <= {prompt}"
            )

    def parts(self, prompt: int) -> Iterator[tuple[int, int, bool]]:
        """A prompt cut at the window's ends: begin and end of each part that is not empty, whether it is steered."""
        end = prompt if self.end is None else self.end
        for begin, stop, is_steered in ((0, self.begin, False), (self.begin, end, True), (end, prompt, False)):
            if begin < stop:
                yield begin, stop, is_steered

    def arms(self, deltas: Deltas, prompt: int) -> tuple[Arms, int]:
        """Arms that steer these tokens, and of how many tokens their prior turn is.

        Args:
            deltas: Block index to what is added to its output, float32 [rows, hidden].
            prompt: Number of the prompt's tokens.
        """
        if self.end is None:
            return Arms.steered(NO_DELTAS if self.begin else deltas, deltas), self.begin or prompt
        rows = next(iter(deltas.values())).shape[0]
        profile = torch.zeros(rows, self.end)
        profile[:, self.begin :] = 1
        return Arms.steered(deltas, profile=profile if self.begin else None), self.end


EVERYWHERE = Window()
"""All tokens of a chat, and of its continuation."""
