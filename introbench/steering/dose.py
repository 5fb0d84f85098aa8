"""How strong an injection is, in a unit that means the same for any vector and any model: its dose in nats.

The dose is the Kullback-Leibler divergence KL(clean || injected) of the next token's distribution, averaged over
neutral questions that follow an injected prior turn (`datasets/carriers.yaml`). Vectors of one norm differ in it by
orders of magnitude, and so do models: published strengths of one recipe are 0.7, 4 and 525 on three families.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from introbench.engine import Arms, Engine, Request, Want
from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.chat import Chat, tokenize_chat

FORWARDS = 12
"""Most measurements that finding a strength takes."""

CLOSE = 0.02
"""Relative distance from the asked dose at which the search ends."""

FURTHEST = 8.0
"""Factor by which a step of the search changes a strength at most."""

SMALLEST_SLOPE = 0.2
"""Of a dose's logarithm over that of the norm: below it a line says nothing about where the target is."""

DIGITS = 4
"""Significant digits of a strength that was found, and of a dose, so that rounding errors of neighbours in a batch do
not show."""


class Carriers:
    """The neutral conversations, as one model reads them.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.

    Raises:
        InputError: The chat template does not carry them.
    """

    def __init__(self, engine: Engine, tokenizer: Any) -> None:
        self._engine = engine
        self._chats: list[Chat] = [
            tokenize_chat(tokenizer, messages, prior) for messages, prior in data.carriers(_system(tokenizer))
        ]

    @property
    def digest(self) -> str:
        """Digest of the conversations as tokens: with others, a dose is another."""
        return hashlib.sha256(repr([chat.tokens for chat in self._chats]).encode()).hexdigest()

    def doses(self, arms: Arms) -> list[float]:
        """The dose of each of some arms, in nats.

        Args:
            arms: The first one is the clean one; steered on the whole of the prior turn.

        Returns:
            One number per row: 0 for the first, NaN where the model's numbers are not finite.
        """
        readings = self._engine.read(
            [Request(chat.tokens, chat.prior, Want(divergence=True), arms) for chat in self._chats]
        )
        doses = np.mean([reading.divergence.numpy() for reading in readings], axis=0)
        finite = np.all([reading.finite for reading in readings], axis=0)
        return np.where(finite & np.isfinite(doses), doses, math.nan).tolist()


def find_norms(
    measure: Callable[[Mapping[int, float]], Sequence[float]], targets: Sequence[float], starts: Sequence[float]
) -> list[float]:
    """Find the norm at which each of some vectors has the dose that is asked for.

    For small injections a dose grows with the square of the norm, so the search goes along straight lines between
    logarithms, and halves the bracket that is known where a line leads out of it.

    Args:
        measure: From norms of some of the vectors, by number, to their doses; called at most `FORWARDS` times.
        targets: Doses in nats, above 0.
        starts: The norm at which the search for each begins, above 0.

    Returns:
        Norms, rounded to `DIGITS` digits; NaN where a dose is not reached.
    """
    searches = [_Search(target, start) for target, start in zip(targets, starts, strict=True)]
    unfinished = list(range(len(searches)))
    for _ in range(FORWARDS):
        norms = {number: searches[number].norm for number in unfinished}
        for number, dose in zip(unfinished, measure(norms), strict=True):
            searches[number].note(dose)
        unfinished = [number for number in unfinished if not searches[number].is_close]
        if not unfinished:
            break
    return [search.found if search.is_near else math.nan for search in searches]


class _Search:
    """The search for one vector's norm."""

    def __init__(self, target: float, start: float) -> None:
        self.target = target
        self.norm = start
        self._tried: list[tuple[float, float]] = []

    @property
    def found(self) -> float:
        """The best norm so far, rounded."""
        return rounded(self._best[0])

    @property
    def is_close(self) -> bool:
        """Whether the search may end."""
        return self._distance(self._best[1]) <= CLOSE

    @property
    def is_near(self) -> bool:
        """Whether the best norm will do: two matched doses are then within 5% of each other."""
        return self._distance(self._best[1]) <= 2 * CLOSE

    @property
    def _best(self) -> tuple[float, float]:
        return min(self._tried, key=lambda tried: self._distance(tried[1]))

    def _distance(self, dose: float) -> float:
        return abs(dose / self.target - 1) if math.isfinite(dose) else math.inf

    def note(self, dose: float) -> None:
        """Take note of what the current norm gives, and choose the next one, unless this one will do."""
        self._tried.append((self.norm, dose))
        if self.is_close:
            return
        self.norm = rounded(self._next())  # as it would be found, so that its dose is known then

    def _next(self) -> float:
        """The norm to try next."""
        # What is not finite is too strong.
        low = max((norm for norm, d in self._tried if d < self.target), default=None)
        high = min((norm for norm, d in self._tried if not d < self.target), default=None)
        towards = self._along_the_line()
        if low is not None and high is not None:
            return towards if towards is not None and low < towards < high else math.sqrt(low * high)
        if towards is not None:
            return min(max(towards, self.norm / FURTHEST), self.norm * FURTHEST)
        return low * FURTHEST if low is not None else min(norm for norm, _ in self._tried) / FURTHEST

    def _along_the_line(self) -> float | None:
        """Where a straight line between logarithms reaches the target: through the two doses nearest to it."""
        known = [(norm, dose) for norm, dose in dict(self._tried).items() if math.isfinite(dose) and dose > 0]
        known.sort(key=lambda tried: abs(math.log(tried[1] / self.target)))
        if not known:
            return None
        (norm, dose), *others = known
        slope = 2.0
        if others:
            slope = math.log(dose / others[0][1]) / math.log(norm / others[0][0])
        return norm * (self.target / dose) ** (1 / slope) if slope > SMALLEST_SLOPE else None


def rounded(number: float) -> float:
    """A norm or a dose with as many digits as are kept of it."""
    return float(f"{number:.{DIGITS}g}")


def _system(tokenizer: Any) -> str | None:
    """An empty system turn, as the tasks have by default; none for templates that reject one."""
    messages, prior = data.carriers("")[0]
    try:
        tokenize_chat(tokenizer, messages, prior)
    except InputError:
        return None
    return ""
