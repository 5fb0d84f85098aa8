"""The table of published and measured probabilities, and whose they are said to be."""

from pathlib import Path

from introbench.analysis.noticed import read_trials
from introbench.page.published import published_table
from introbench.report.log import read_log

OLD = Path(__file__).parents[1] / "old_logs"


def test_published_and_measured_stand_in_one_row() -> None:
    trials = read_trials(read_log(str(OLD / "model_swap.eval")).trials)
    title, table = published_table("model_swap", "inject/smollm2", trials)
    assert "another model" in title
    (row,) = (line for line in table.splitlines() if line.startswith("info, finetune"))
    assert "0.757% -> 6.006% (+5.249%)" in row
    assert row.count("->") == 4
    assert "the same model" in published_table("model_swap", "inject/Qwen/Qwen2.5-Coder-32B-Instruct", trials)[0]


def test_what_was_not_asked_says_so() -> None:
    trials = read_trials(read_log(str(OLD / "introspection.eval")).trials)
    assert published_table("introspection", "m", []) == []
    assert "->" in published_table("introspection", "m", trials)[1]
    assert published_table("probe", "m", trials) == []
