"""From what an engine reads to a probe's scores as plain JSON: states are large, and no log has to hold them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.analysis.probe import Scores, States, held_out_scores, json_lists
from introbench.engine import Reading
from introbench.steering.injection import Injection


def probe_record(
    batch: Sequence[Injection],
    log_odds: Sequence[Sequence[float]],
    sides: Sequence[float],
    answers: Sequence[Reading],
    ends: Sequence[Reading],
) -> dict[str, Any]:
    """Scores of the probe and of the report, as plain JSON: numbers that are not finite are None.

    Args:
        batch: The injections, row by row.
        log_odds: Log-odds of yes for each question and row, in nats.
        sides: For each question, -1 if a no says "noticed", else 1.
        answers: For each question, the readings with the residual stream where it is answered.
        ends: For each document, the readings with the residual stream at the end of its prior turn. The first one is
            the document that is asked about.

    Returns:
        `concepts` and `random`, the vectors' labels; `report`, `answer` and `cache`, each with `injected` and `sham`
        of the shape [layers][vectors][items]. The report has one layer, the cache has one item, and lacks the last
        block: what comes out of it is read by no later token.
    """
    order = _Order.of(batch)
    answer, cache = order.states(answers, None), order.states(ends, -1)
    finite = np.array([reading.finite for reading in answers]).T
    odds = np.where(finite, np.array(log_odds).T * np.array(sides), math.nan)
    by_probe = held_out_scores(answer)
    lost = np.isnan(by_probe.injected[-1])
    report = Scores(
        np.where(lost, math.nan, odds[order.vectors])[None],
        np.where(lost, math.nan, odds[np.array(order.shams)[order.beside]])[None],
    )
    named = {"report": report, "answer": by_probe, "cache": held_out_scores(cache, [0])}
    return {
        "concepts": [batch[row].label for row in order.vectors[: order.concepts]],
        "random": [batch[row].label for row in order.vectors[order.concepts :]],
        **{
            name: {"injected": json_lists(scores.injected), "sham": json_lists(scores.sham)}
            for name, scores in named.items()
        },
    }


@dataclass(frozen=True)
class _Order:
    """Which rows of a batch are what: concepts' vectors, then random ones; shams, and which of them each is beside."""

    vectors: list[int]
    concepts: int
    shams: list[int]
    beside: list[int]

    @classmethod
    def of(cls, batch: Sequence[Injection]) -> "_Order":
        shams = [row for row, injection in enumerate(batch) if injection.vector is None]
        concepts = [row for row, injection in enumerate(batch) if injection.vector and not injection.vector.is_random]
        random = [row for row, injection in enumerate(batch) if injection.vector and injection.vector.is_random]
        batches = [batch[row].batch for row in shams]
        beside = [batches.index(batch[row].batch) for row in (*concepts, *random)]
        return cls([*concepts, *random], len(concepts), shams, beside)

    def states(self, readings: Sequence[Reading], stop: int | None) -> States:
        """States from the readings of some items, after the blocks up to `stop`."""
        of_items = []
        for reading in readings:
            residuals = reading.residuals.numpy()[:stop]
            of_items.append(np.where(np.array(reading.finite)[:, None], residuals, np.nan))
        states = np.stack(of_items, axis=1)
        return States(states[:, :, self.vectors], states[:, :, self.shams], self.beside, self.concepts)
