"""Probabilities in the published form: few on the first screen, all of them below."""

from introbench.analysis.probabilities import MeanProbabilities
from introbench.report.probabilities import first_table, full_table

MEANS = [
    MeanProbabilities("info", "introspection", False, 8, (0.0015, 0.00522), (0.9, 0.8)),
    MeanProbabilities("info", "introspection", True, 8, (0.5, 0.4), (0.5, 0.6)),
    MeanProbabilities("info", "always_no", False, 8, (0.1, 0.1), (0.9, 0.9)),
    MeanProbabilities("info", "ambiguous", False, 4, (0.3, 0.2), (0.7, 0.8)),
    MeanProbabilities("lorem", "introspection", False, 8, (0.1, 0.2), (0.9, 0.8)),
]


def test_the_first_screen_shows_the_reference_document_in_the_published_form() -> None:
    (table,) = first_table(MEANS)
    header, *rows = table.splitlines()
    assert header.startswith("document info ")
    assert [row.partition("  ")[0] for row in rows] == ["introspection, plain", "introspection, reversed", "always_no"]
    assert "yes 0.150% -> 0.522% (+0.372%)" in rows[0]
    assert "no 90.000% -> 80.000% (-10.000%)" in rows[0]


def test_families_of_a_users_own_are_shown_where_none_of_ours_was_asked() -> None:
    own = [MeanProbabilities("none", "weather", False, 2, (0.1, 0.2), (0.9, 0.8))]
    assert "weather" in first_table(own)[0]
    assert first_table([]) == full_table([]) == []


def test_all_documents_and_families_follow() -> None:
    _, table = full_table(MEANS)
    assert len(table.splitlines()) == 1 + len(MEANS)
    assert table.splitlines()[-1].split()[:3] == ["lorem", "introspection,", "plain"]
    assert table.splitlines()[-1].endswith(" 8")
