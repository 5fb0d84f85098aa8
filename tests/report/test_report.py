"""A report: the conclusion first, in lines of the first screen, then its tables."""

from introbench.report.report import WIDTH, Report, counted, listed, plain_table, wrapped


def test_the_conclusion_comes_first_and_further_tables_on_demand() -> None:
    report = Report(["Verdict: NO EFFECT.", "It rests on 9 concepts."], ["main"], ["further", "legend"])
    assert report.paragraphs() == ["Verdict: NO EFFECT.\nIt rests on 9 concepts.", "main"]
    assert report.paragraphs(full=True) == [*report.paragraphs(), "further", "legend"]


def test_long_sentences_are_broken_between_words() -> None:
    sentence = "word-with-hyphens " * 12
    lines = wrapped(sentence).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[1].startswith("  word")
    assert " ".join(line.strip() for line in lines) == sentence.strip()


def test_names_and_numbers_in_a_sentence() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [counted(count, "concept") for count in (0, 1, 2)] == ["0 concepts", "1 concept", "2 concepts"]


def test_a_table_keeps_its_texts_and_may_have_no_rows() -> None:
    assert plain_table(["strength", "live"], [["0010", "+1.0"]]).splitlines()[-1].split() == ["0010", "+1.0"]
    assert plain_table(["strength", "live"], []).split()[:2] == ["strength", "live"]
