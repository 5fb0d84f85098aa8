"""A text run as one row with nothing added, as far as arms have needed it: they go on from there."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from introbench.engine.attention import KeysAndValues
from introbench.engine.branches import BEGINNING_TOKENS
from introbench.engine.pieces import PriorTurn, QuestionTries
from introbench.engine.requests import Tokens
from introbench.engine.weights import Weights


@dataclass
class CleanRun:
    """A text run as one row with nothing added, as far as it has been needed.

    Attributes:
        text: The text.
        before: Keys and values of the tokens that it attends to, its own included where later tokens see them.
        every_block: Whether to look at questions' ends after every block, or only after the last one.
        reached: The block that the run is about to enter; -1 if nothing has run.
        residual: Residual stream where it enters that block, [1, tokens, hidden].
        at_ends: Block index to the residual stream at questions' ends, [1, questions, hidden].
    """

    text: PriorTurn | QuestionTries
    before: KeysAndValues
    every_block: bool = False
    reached: int = -1
    residual: Tensor = field(default_factory=lambda: torch.empty(0))
    at_ends: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of_prior(cls, tokens: Tokens, weights: Weights) -> "CleanRun":
        """A prior turn of which nothing has run yet."""
        return cls(PriorTurn(tokens, weights), KeysAndValues(len(tokens) + BEGINNING_TOKENS))
