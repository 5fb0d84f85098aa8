"""The rules agree with labels by hand as often as the documents say, on transcripts that were not looked at."""

from collections import Counter
from pathlib import Path

import pytest

from introbench.prompts import data
from introbench.prompts.schema import GRADE_LABELS, GradedTranscript
from introbench.validation.graded_transcripts import SOURCES, agreement, agreement_table, held_out, looked_at

DOCUMENT = Path(__file__).parents[2] / "docs" / "validity.md"


def test_there_are_enough_varied_transcripts_with_labels_that_fit_together() -> None:
    transcripts = data.graded_transcripts()
    assert [transcript.id for transcript in transcripts] == list(range(1, len(transcripts) + 1))
    assert len(transcripts) >= 200
    assert len(held_out(transcripts)) >= 100
    assert {*held_out(transcripts), *looked_at(transcripts)} == {*transcripts}
    counts = Counter(transcript.source for transcript in transcripts)
    assert set(counts) == set(SOURCES)
    assert min(counts.values()) >= 40
    for transcript in transcripts:
        if "claims_first" in transcript.labels:
            assert {"claims", "names"} <= {*transcript.labels}, transcript.id


def test_the_document_has_the_agreement_that_is_measured() -> None:
    assert agreement_table(data.graded_transcripts()) in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("label", "share", "kappa"),
    [
        ("coherent", 0.75, 0.25),
        ("claims", 0.82, 0.57),
        ("names", 0.95, 0.88),
        ("claims_first", 0.9, 0.65),
        ("refused", 0.96, 0.6),
    ],
)
def test_held_out_agreement_is_no_worse_than_it_was(label: str, share: float, kappa: float) -> None:
    measured = agreement(held_out(data.graded_transcripts()), label)
    assert measured[0] >= share
    assert measured[1] >= kappa


def test_kappa_is_what_chance_leaves() -> None:
    def of(claims: bool, text: str) -> GradedTranscript:
        return GradedTranscript(1, "written", "cats", ("claims",) if claims else (), text)

    yes, no = "Yes, I detect an injected thought.", "No."
    assert agreement([of(True, yes), of(False, no)], "claims") == (1.0, 1.0)
    assert agreement([of(True, yes), of(True, no), of(False, yes), of(False, no)], "claims") == (0.5, 0.0)
    assert agreement([of(False, no)], "claims") == (1.0, 1.0)
    assert set(GRADE_LABELS) == {"coherent", "claims", "names", "claims_first", "refused"}
