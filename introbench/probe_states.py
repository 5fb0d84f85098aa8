"""From what an engine reads to a probe's scores as plain JSON: states are large, and no log has to hold them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from introbench.bank import Bank, split_into_banks
from introbench.engine import Reading
from introbench.injection import Injection
from introbench.probe import Array, Scores, States, held_out_scores


@dataclass(frozen=True)
class ProbeSpec:
    """What a call carries as `extra_body={"probe": spec.to_json()}`; its messages are the prior turn of a document.

    Attributes:
        bank: The injections, as `introbench.bank.bank_text` writes them; each batch begins with its sham.
        questions: What is asked after the prior turn: `messages`, `answers`, and whether a no says "noticed",
            `reversed`.
        elsewhere: The prior turns of the run's other documents, as messages: states that the probe of the cache is
            trained on.
    """

    bank: str
    questions: Sequence[Mapping[str, Any]]
    elsewhere: Sequence[Sequence[Mapping[str, str]]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def probe_injections(bank: Bank) -> tuple[Injection, ...]:
    """A bank of any number of concepts as batches, each with a sham of its own."""
    banks = split_into_banks(bank)
    return tuple(replace(each, batch=batch) for batch, part in enumerate(banks) for each in part.injections)


def probe_record(
    bank: Sequence[Injection],
    log_odds: Sequence[Sequence[float]],
    signs: Sequence[float],
    answers: Sequence[Reading],
    ends: Sequence[Reading],
) -> dict[str, Any]:
    """Scores of the probe and of the report, as plain JSON: numbers that are not finite are None.

    Args:
        bank: The injections, row by row.
        log_odds: Log-odds of yes for each question and row, in nats.
        signs: For each question, -1 if a no says "noticed", else 1.
        answers: For each question, the readings with the residual stream where it is answered.
        ends: For each document, the readings with the residual stream at the end of its prior turn. The first one is
            the document that is asked about.

    Returns:
        `concepts` and `random`, the vectors' labels; `report`, `answer` and `cache`, each with `injected` and `sham`
        of the shape [layers][vectors][items]. The report has one layer, the cache has one item, and lacks the last
        block: what comes out of it is read by no later token.
    """
    order = _Order.of(bank)
    answer, cache = order.states(answers, None), order.states(ends, -1)
    finite = np.array([reading.finite for reading in answers]).T
    odds = np.where(finite, np.array(log_odds).T * np.array(signs), math.nan)
    by_probe = held_out_scores(answer)
    lost = np.isnan(by_probe.injected[-1])
    report = Scores(
        np.where(lost, math.nan, odds[order.vectors])[None],
        np.where(lost, math.nan, odds[np.array(order.shams)[order.beside]])[None],
    )
    named = {"report": report, "answer": by_probe, "cache": held_out_scores(cache, [0])}
    return {
        "concepts": [bank[row].label for row in order.vectors[: order.concepts]],
        "random": [bank[row].label for row in order.vectors[order.concepts :]],
        **{name: {"injected": plain(each.injected), "sham": plain(each.sham)} for name, each in named.items()},
    }


def scores_of(recorded: Mapping[str, Any]) -> Scores:
    """Scores from their JSON."""
    return Scores(np.array(recorded["injected"], dtype=float), np.array(recorded["sham"], dtype=float))


def plain(values: Array) -> Any:
    """Nested lists, with None where a number is not finite: JSON has no NaN."""
    written = values.astype(object)
    written[~np.isfinite(values)] = None
    return written.tolist()


@dataclass(frozen=True)
class _Order:
    """Which rows of a bank are what: concepts' vectors, then random ones; shams, and which of them each is beside."""

    vectors: list[int]
    concepts: int
    shams: list[int]
    beside: list[int]

    @classmethod
    def of(cls, bank: Sequence[Injection]) -> "_Order":
        shams = [row for row, each in enumerate(bank) if each.vector is None]
        concepts = [row for row, each in enumerate(bank) if each.vector and not each.vector.is_random]
        random = [row for row, each in enumerate(bank) if each.vector and each.vector.is_random]
        batches = [bank[row].batch for row in shams]
        beside = [batches.index(bank[row].batch) for row in (*concepts, *random)]
        return cls([*concepts, *random], len(concepts), shams, beside)

    def states(self, readings: Sequence[Reading], stop: int | None) -> States:
        """States from the readings of some items, after the blocks up to `stop`."""
        several = []
        for reading in readings:
            residuals = reading.residuals.numpy()[:stop]
            several.append(np.where(np.array(reading.finite)[:, None], residuals, np.nan))
        every = np.stack(several, axis=1)
        return States(every[:, :, self.vectors], every[:, :, self.shams], self.beside, self.concepts)
