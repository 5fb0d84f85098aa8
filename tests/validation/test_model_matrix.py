"""The table of model families, on a few of them; the whole is `make models`."""

from pathlib import Path

import pytest

from introbench.validation.error_rates import replace_tables
from introbench.validation.model_matrix import Cell, Variant, matrix_tables, run_invariants
from introbench.validation.tiny_models import FAMILIES, WITHOUT_KV_CACHE

ASKED_FOR = {
    *("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "mistral", "phi3", "olmo2", "gpt_neox", "gpt2", "granite"),
    *("stablelm", "falcon", "qwen3_moe", "mixtral"),
}


def test_the_invariants_hold_and_what_has_no_kv_cache_is_refused_by_name(tmp_path: Path) -> None:
    found = run_invariants(["gemma3_text", "falcon", "mamba", "jamba"], Variant("default", ()), tmp_path)
    assert str(found["gemma3_text"]) == "yes"
    assert str(found["falcon"]) == "yes, plain path"
    assert found["falcon"].passed == 14
    for family in ("mamba", "jamba"):
        assert str(found[family]) == "refused"
        assert f"model type {family}: keeps a recurrent state; expected a KV cache" in found[family].refusal
    tables = matrix_tables({"default": found})
    assert "| jamba       | refused" in tables
    assert "| jamba    | all           | keeps a recurrent state; expected a KV cache to inject through;" in tables
    assert str(tmp_path) not in tables


def test_every_family_is_in_the_table_of_the_docs() -> None:
    written = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    lines = [line for line in written.splitlines() if line.startswith("| ")]
    rows = {line.split("|")[1].strip(): line for line in reversed(lines)}
    assert FAMILIES.keys() >= ASKED_FOR
    for family in FAMILIES:
        assert "| yes" in rows[family], family
    for family in WITHOUT_KV_CACHE:
        assert "| refused" in rows[family], family


def test_a_cell_says_which_checks_failed() -> None:
    assert str(Cell({"spans": "found 3"}, 11, (), "fast: ...")) == "no: spans"
    assert str(Cell({"spans": "found 3"}, 0, ("finite", "same shape"), "")) == "no: spans"
    assert str(Cell({"spans": "no KV cache", "finite": "no KV cache"}, 0, (), "")) == "refused"
    assert str(Cell({}, 14, (), "fast: ...")) == "yes"
    assert str(Cell({}, 13, ("one BOS",), "fast: ...")) == "yes; not checked: one BOS"


def test_only_the_commands_own_part_of_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("before\n<!-- made by make x -->\nold\n<!-- end of what make x makes -->\nafter\n")
    replace_tables(path, "make x", "new")
    assert path.read_text() == "before\n<!-- made by make x -->\n\nnew\n\n<!-- end of what make x makes -->\nafter\n"


def test_a_file_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("nothing here\n")
    with pytest.raises(ValueError, match="no part that make x makes"):
        replace_tables(path, "make x", "new")
    assert path.read_text() == "nothing here\n"
