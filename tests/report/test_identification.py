"""The identification task in words: bits beyond random vectors, in each part, against chance."""

from dataclasses import replace

import pytest
from old_trials import old_trials

from introbench.analysis.identification import Identification, identifications
from introbench.report import identification
from introbench.stats.information_difference import InformationDifference

TRIALS = old_trials("identification", "identified")


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], Identification]:
    return identifications(TRIALS, by_layer=True)


def test_what_is_shown_depends_on_the_p_value_of_all_rows(
    cells: dict[tuple[str, str], Identification], monkeypatch: pytest.MonkeyPatch
) -> None:
    naming = cells["naming", "info"]
    assert isinstance(naming.beyond_random, InformationDifference)
    small = replace(naming.beyond_random, p_value=0.001, smallest_p=0.001)
    shown = cells | {("naming", "info"): replace(naming, beyond_random=small)}
    monkeypatch.setattr(identification, "identifications", lambda *_, **__: shown)
    report = identification.report(TRIALS)
    assert report.conclusion[0] == "Reports say more about concepts than about random vectors in: naming (info)."
    assert report.conclusion[2].startswith(
        "naming, document info: +0.54 bits beyond random vectors (p = 0.001: yes); in all +0.60 of at most 1.58 bits; "
        "the injected concept gets 68.2% of the probability, 33.3% by chance."
    )


def test_without_random_vectors_nothing_is_shown(
    cells: dict[tuple[str, str], Identification], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {cell: replace(each, beyond_random=None, random_bits=float("nan")) for cell, each in cells.items()}
    monkeypatch.setattr(identification, "identifications", lambda *_, **__: alone)
    first, of_list, *_ = identification.report(TRIALS).conclusion
    assert first.startswith("It is not shown")
    assert of_list.startswith("list, document info: not known: no random vectors; in all ")


def test_the_probability_of_the_injected_concept_is_in_the_published_form() -> None:
    probabilities, bits = identification.report(TRIALS).tables
    assert "33.333% -> 68.206% (+34.872%)" in probabilities
    assert "+0.60 [+0.49, +0.71]" in bits


def test_one_concept_leaves_nothing_to_tell_apart() -> None:
    one = [(factors, exact) for factors, exact in TRIALS if factors["concept"] == "cats"]
    report = identification.report(one)
    assert report.conclusion[0].startswith("No conclusion: ")
    assert not report.tables
