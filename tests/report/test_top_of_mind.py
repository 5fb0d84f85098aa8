"""Top of mind in words: how many vectors are live, and how many would be by chance."""

from old_trials import old_trials

from introbench.report import top_of_mind

TRIALS = old_trials("top_of_mind", "top_of_mind_texts")


def test_live_vectors_stand_first_and_chance_beside_them() -> None:
    first, gain, coherent, rest, _ = top_of_mind.report(TRIALS).conclusion
    assert first.startswith("At strength 8, 1 of 2 vectors brings its concept to mind while the model is steered")
    assert "+5.39 nats likelier than under the sham, on average; under random vectors at most +5.05." in gain
    assert coherent == "Texts stay coherent under 1 of 2."
    assert rest.endswith("a vector that does no more than 2 random vectors would be live once in 3 times.")


def test_strengths_are_summed_up_over_concepts() -> None:
    (table,) = top_of_mind.report(TRIALS).tables
    assert table.splitlines()[1].split()[:7] == ["2", "0", "of", "2", "2", "of", "2"]
    assert len(table.splitlines()) == 1 + 4


def test_a_concept_without_texts_is_left_out() -> None:
    part = [TRIALS[0], (TRIALS[1][0], {})]
    assert " of 1 vector " in top_of_mind.report(part).conclusion[0]
    none = [(factors, {}) for factors, _ in TRIALS]
    assert top_of_mind.report(none).conclusion == ["No vector was judged: the model wrote nothing."]


def test_texts_under_opposites_are_shown_beside_the_shams() -> None:
    (factors, exact), *_ = TRIALS
    names = exact["strengths"]["8"]
    more = {
        "opposites": {"8": names[1]},
        "opposite_gains": {"8": -1.25},
        "texts": {"sham": "a walk\nin the rain", names[0]: "cats " * 40, names[1]: "dogs"},
    }
    report = top_of_mind.report([(factors, exact | more)])
    _, title, table = report.tables
    assert title.startswith("Texts under a vector that leads to a fine-tune (+), under its opposite (-)")
    sham, plus, minus = (line.split() for line in table.splitlines()[1:])
    assert sham[1:4] == ["8", "sham", "+0.00"]
    assert sham[5:] == ["a", "walk", "in", "the", "rain"]
    assert plus[2] == "+"
    assert plus[-1] == "cats...", "the beginning of a long text"
    assert minus[2:4] == ["-", "-1.25"]
    assert "cats " * 39 in report.further[-1]
    assert len(report.further) == len(top_of_mind.report(TRIALS).further) + 2
