"""Families that are built from their default configurations: what is made small, and what is said of each."""

from pathlib import Path

import pytest

from introbench.validation.every_family import every_family, families_table, small_config, try_family


def test_all_that_transformers_lists_are_tried() -> None:
    families = every_family()
    assert len(families) > 250
    assert {"llama", "mistral3", "qwen2_5_vl", "llama4", "granitemoehybrid", "mamba"} <= set(families)


def test_sizes_are_small_on_the_inside_too() -> None:
    config = small_config("mistral3", 300)
    text, tower = config.text_config, config.vision_config
    assert (text.vocab_size, text.hidden_size, text.num_hidden_layers) == (300, 64, 4)
    assert (tower.hidden_size, tower.num_hidden_layers) == (64, 1)


@pytest.mark.parametrize(
    ("family", "result"),
    [
        ("mistral3", "runs, fast path (Mistral3ForConditionalGeneration)"),
        ("mamba", "refused: keeps a recurrent state; expected a KV cache to inject through; choose another model"),
    ],
)
def test_a_family_is_loaded_as_a_users_model_is(family: str, result: str, tmp_path: Path) -> None:
    assert try_family(family, tmp_path / family) == result


def test_a_family_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    assert try_family("xlm", tmp_path / "xlm").startswith("not built: ValueError: 2077")


def test_the_table_counts_and_shortens() -> None:
    table = families_table({"a": "runs, fast path (A)", "b": "refused: " + "word " * 99, "c": "runs, plain path (C|D)"})
    assert table.startswith("Of 3 families: 2 runs, 1 refused.")
    assert "| a        | runs    | fast path (A)" in table
    assert "C\\|D" in table
    assert max(map(len, table.splitlines())) < 160
