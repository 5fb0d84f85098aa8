"""What a reading says of each arm, as records: for a model output, or for whoever asks without Inspect."""

from collections.abc import Collection, Mapping
from typing import Any

from introbench.engine import Reading
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.questions import ReadableQuestion
from introbench.records.arm_record import ArmRecord, finite_or_none
from introbench.steering.arms import ArmBatch


def records_of(
    model: LoadedModel,
    question: ReadableQuestion,
    batch: ArmBatch,
    rows: Mapping[str, int],
    reading: Reading,
    shown: Collection[str] = (),
) -> list[ArmRecord]:
    """The records of some arms of a batch that was read.

    Args:
        model: The model that read it.
        question: What was asked.
        batch: The arms, in batch order.
        rows: Names of the arms, and their rows in the batch.
        reading: What was read.
        shown: The arms whose likely tokens the records have.
    """
    norms, live, doses = model.norms(batch), model.live(batch), model.doses(batch)
    records = []
    for arm, row in rows.items():
        injection = batch[row]
        records.append(
            ArmRecord(
                arm=arm,
                vector=injection.label,
                sha256=model.library.sha256(injection.vector)[:16] if injection.vector else None,
                strength=finite_or_none(norms[row]),
                dose=doses[row],
                live=live[row],
                finite=reading.finite[row],
                logprobs=question.by_form(reading.logprobs[row]) if reading.finite[row] else {},
                lens=question.by_answer(reading.lens[:, row].T) if question.tokenized.want.lens else {},
                top=top_tokens(model.tokenizer, reading, row) if arm in shown else (),
            )
        )
    return records


def top_tokens(tokenizer: Any, readings: Reading, row: int) -> list[tuple[str, float]]:
    """The most likely tokens under one arm, with their log-probabilities; none if these are not finite."""
    if not readings.finite[row]:
        return []
    ids, logprobs = readings.top_ids[row].tolist(), readings.top_logprobs[row].tolist()
    return [(tokenizer.decode([token]), logprob) for token, logprob in zip(ids, logprobs, strict=True)]
