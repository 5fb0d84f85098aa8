"""Tables and the sentences around them."""

from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from introbench.page.table_text import table_text

words = st.text("abcdefgh", min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)


@given(st.lists(sentences, max_size=3), st.lists(st.tuples(words, words, words), max_size=4), st.lists(sentences))
def test_every_word_stays_and_the_lines_of_the_table_are_as_they_were(
    above: list[str], rows: list[tuple[str, str, str]], below: list[str]
) -> None:
    table = tabulate(rows, ["one", "two", "three"], tablefmt="simple") if rows else ""
    parts = table_text("\n".join([*above, *table.splitlines(), *below]))
    assert parts.table == table
    assert " ".join(parts.above).split() == " ".join(above if rows else [*above, *below]).split()
    assert " ".join(parts.below).split() == (" ".join(below).split() if rows else [])
    assert len(parts.above) <= 1, "a paragraph, since nothing here is a list"


def test_a_table_without_a_rule_is_a_table() -> None:
    parts = table_text("name    mean\ncats  +0.100\nWhat the\n  columns mean.")
    assert parts == ([], "name    mean\ncats  +0.100", ["What the columns mean."])


def test_the_points_of_a_list_are_paragraphs() -> None:
    parts = table_text("What would settle it:\n- more concepts,\n  all of them\n- less noise")
    assert parts == (["What would settle it:", "- more concepts, all of them", "- less noise"], "", [])
