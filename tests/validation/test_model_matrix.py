"""The table of model families, on a few of them; `make models` makes the whole table."""

from pathlib import Path

import pytest
import transformers

from introbench.validation.every_family import every_family
from introbench.validation.model_matrix import Cell, Variant, _cells, matrix_tables, run_invariants
from introbench.validation.tiny_models import FAMILIES, WITHOUT_KV_CACHE

SUPPORTED = {
    *("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "mistral", "phi3", "olmo2", "gpt_neox", "gpt2", "granite"),
    *("stablelm", "falcon", "qwen3_moe", "mixtral"),
}


@pytest.mark.slow
def test_the_invariants_hold_and_what_has_no_kv_cache_is_refused_by_name(tmp_path: Path) -> None:
    cells = run_invariants(["gemma3_text", "falcon", "mamba", "jamba"], Variant("default", ()), tmp_path)
    assert str(cells["gemma3_text"]) == "yes"
    assert str(cells["falcon"]) == "yes, plain path"
    assert cells["falcon"].passed == 15
    for family in ("mamba", "jamba"):
        assert str(cells[family]) == "refused"
        assert f"model type {family}: keeps a recurrent state; expected a KV cache" in cells[family].refusal
    tables = matrix_tables({"default": cells})
    assert "| jamba       | refused" in tables
    assert "| jamba    | all           | keeps a recurrent state; expected a KV cache to inject through;" in tables
    assert str(tmp_path) not in tables


def test_every_family_is_in_the_table_of_the_docs() -> None:
    written = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    lines = [line for line in written.splitlines() if line.startswith("| ")]
    rows = {line.split("|")[1].strip(): line for line in reversed(lines)}
    assert FAMILIES.keys() >= SUPPORTED
    for family in FAMILIES:
        assert "| yes" in rows[family], family
    for family in WITHOUT_KV_CACHE:
        assert "| refused" in rows[family], family


def test_every_family_that_transformers_lists_has_a_row() -> None:
    written = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"transformers {transformers.__version__}" in written, "run make models"
    table = written.partition("| how, or why")[2]
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in table.splitlines() if "|" in line[:2]}
    assert rows.keys() >= set(every_family())
    for family in ("llama", "mistral3", "qwen2_5_vl", "qwen3_vl", "llava", "idefics3", "llama4", "granitemoehybrid"):
        assert rows[family] == "runs", family


def test_a_cell_says_which_checks_failed() -> None:
    assert str(Cell({"spans": "found 3"}, 11, (), "fast: ...")) == "no: spans"
    assert str(Cell({"spans": "found 3"}, 0, ("finite", "same shape"), "")) == "no: spans"
    assert str(Cell({"spans": "no KV cache", "finite": "no KV cache"}, 0, (), "")) == "refused"
    assert str(Cell({}, 14, (), "fast: ...")) == "yes"
    assert str(Cell({}, 13, ("one BOS",), "fast: ...")) == "yes; not checked: one BOS"


def test_cells_are_read_from_the_report_of_pytest(tmp_path: Path) -> None:
    junit = tmp_path / "junit"
    junit.write_text(
        """<testsuites><testsuite>
        <testcase name="test_self_check[inject/f/llama-finite]"/>
        <testcase name="test_self_check[inject/f/llama-one BOS]"><skipped message="no BOS"/></testcase>
        <testcase name="test_every_trial_has_numbers[inject/f/llama]"><failure message="short">long</failure></testcase>
        <testcase name="test_self_check[inject/f/mamba-finite]"><error message="refused"/></testcase>
        </testsuite></testsuites>"""
    )
    cells = _cells(["llama", "mamba"], junit, "inject/f/", {"llama": "fast: ..."})
    assert cells["llama"] == Cell({"test_every_trial_has_numbers": "long"}, 1, ("one BOS",), "fast: ...")
    assert str(cells["llama"]) == "no: test_every_trial_has_numbers"
    assert cells["mamba"] == Cell({"finite": "refused"}, 0, (), "")
    assert str(cells["mamba"]) == "refused"


def test_tests_that_cannot_be_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"'dtype' after .*: expected KEY=VALUE"):
        run_invariants([], Variant("wrong", ("dtype",)), tmp_path)
