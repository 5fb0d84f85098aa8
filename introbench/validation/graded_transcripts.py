"""How often the rules that grade sampled answers agree with labels by hand: `make grading`.

The rules were written with their errors on one half of the transcripts in sight, those of odd number. Their agreement
on the other half is what they are worth on answers like these.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from introbench.analysis.grading import grade_by_rules
from introbench.prompts import data
from introbench.prompts.schema import GRADE_LABELS, GradedTranscript
from introbench.validation.error_rates import replace_tables

SOURCES = {
    "smollm2": "the embedded model",
    "taught": "models that were taught to report",
    "written": "written as hard cases",
}
"""Where transcripts come from, as the file and as the table name it."""


def main() -> None:
    """Print the table of agreement, and perhaps write it into a file."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.graded_transcripts", description=__doc__)
    parser.add_argument("--write", type=Path, help="Markdown file whose part is replaced")
    options = parser.parse_args()
    table = agreement_table(data.graded_transcripts())
    print(table)
    if options.write:
        replace_tables(options.write, "make grading", table)


def held_out(transcripts: Sequence[GradedTranscript]) -> list[GradedTranscript]:
    """The half whose errors were not looked at while the rules were written."""
    return [transcript for transcript in transcripts if transcript.id % 2 == 0]


def looked_at(transcripts: Sequence[GradedTranscript]) -> list[GradedTranscript]:
    """The half whose errors were looked at."""
    return [transcript for transcript in transcripts if transcript.id % 2]


def by_rules(transcript: GradedTranscript) -> dict[str, bool]:
    """What the rules say of a transcript, by label."""
    grade = grade_by_rules(transcript.text, transcript.concept)
    return {label: getattr(grade, label) for label in GRADE_LABELS}


def agreement(transcripts: Sequence[GradedTranscript], label: str) -> tuple[float, float]:
    """Share of transcripts on which rules and hand give a label alike, and Cohen's kappa.

    Returns:
        The share, 0 to 1, and kappa (Cohen 1960): what of the agreement that chance leaves open is reached; 1 if both
        give all transcripts the same label.
    """
    pairs = [(label in transcript.labels, by_rules(transcript)[label]) for transcript in transcripts]
    share = sum(hand == rules for hand, rules in pairs) / len(pairs)
    by_hand, by_rule = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    chance = by_hand * by_rule + (1 - by_hand) * (1 - by_rule)
    return share, (share - chance) / (1 - chance) if chance < 1 else 1.0


def agreement_table(transcripts: Sequence[GradedTranscript]) -> str:
    """Agreement and kappa of each label, as a Markdown table: a row for each half, and for each source held out."""
    kept = held_out(transcripts)
    rows: Mapping[str, Sequence[GradedTranscript]] = {
        "held out": kept,
        **{
            f"held out, {name}": [transcript for transcript in kept if transcript.source == source]
            for source, name in SOURCES.items()
        },
        "looked at": looked_at(transcripts),
    }
    lines = [
        f"| transcripts | number | {' | '.join(GRADE_LABELS)} |",
        f"| --- |{' --- |' * (1 + len(GRADE_LABELS))}",
    ]
    for name, some in rows.items():
        cells = [f"{share:.0%}, {kappa:.2f}" for share, kappa in (agreement(some, label) for label in GRADE_LABELS)]
        lines.append(f"| {name} | {len(some)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
