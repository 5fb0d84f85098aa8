"""What a reading says of each arm, as records: for a model output, or for whoever asks without Inspect."""

from collections.abc import Collection, Mapping, Sequence

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
    logprobs = (
        reading.logprobs.tolist()
    )  # all at once: each look into a tensor takes longer than all numbers of a trial
    tops = list(zip(reading.top_ids.tolist(), reading.top_logprobs.tolist(), strict=True))
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
                logprobs=question.by_form(logprobs[row]) if reading.finite[row] else {},
                lens=question.by_answer(reading.lens[:, row].T) if question.tokenized.want.lens else {},
                top=_with_texts(model, *tops[row]) if arm in shown and reading.finite[row] else (),
            )
        )
    return records


def _with_texts(model: LoadedModel, tokens: Sequence[int], logprobs: Sequence[float]) -> list[tuple[str, float]]:
    """Tokens as text, with their log-probabilities."""
    return list(zip(map(model.text_of, tokens), logprobs, strict=True))
