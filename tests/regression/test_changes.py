"""What regression tests find: a planted change of 0.2 nats, and nothing where nothing changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from introbench.regression.paired import changes
from introbench.regression.session import TASK, Session
from introbench.validation.planted_models import BLOCKS, concepts_of, save_planted
from introbench.validation.planted_truths import PLANTED
from introbench.validation.word_tokenizer import word_tokenizer

pytest_plugins = ["pytester"]

FEW: dict[str, Any] = {"documents": ["info"], "families": ["introspection", "always_no", "always_yes", "ambiguous"]}
MERGED = 0.01
PLANTED_CHANGE = 0.23
"""Of 1.5 nats planted the instrument finds 1.3: this much moves what it finds by 0.2."""
BEFORE_LAST = BLOCKS - 2
"""The block whose down projection brings what was noticed into the answer."""


def of_effect(effect: float, folder: Path) -> PreTrainedModel:
    save_planted(replace(PLANTED["introspector"], introspection=effect), 0, folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def before_and_after(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A planted introspector, and the same with an adapter merged at 1% of its weight."""
    folder = tmp_path_factory.mktemp("planted")
    base = of_effect(1.5, folder / "before")
    strong = of_effect(1.5 + PLANTED_CHANGE / MERGED, folder / "strong")
    name = f"model.layers.{BEFORE_LAST}.mlp.down_proj"
    difference = strong.get_submodule(name).weight - base.get_submodule(name).weight
    left, sizes, right = torch.linalg.svd(difference, full_matrices=False)
    assert sizes[1] < 1e-4 * sizes[0], "what the adapter adds has rank one"
    config = LoraConfig(r=1, lora_alpha=MERGED, target_modules=[name], task_type="CAUSAL_LM")
    adapted = get_peft_model(base, config)
    layer = adapted.get_submodule(f"base_model.model.{name}")
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(right[:1])
        layer.lora_B["default"].weight.copy_(left[:, :1] * sizes[0])
    adapted.merge_and_unload().save_pretrained(folder / "after")
    word_tokenizer().save_pretrained(folder / "after")
    return folder / "before", folder / "after"


@pytest.mark.slow
def test_a_planted_change_of_a_fifth_of_a_nat_is_found(
    before_and_after: tuple[Path, Path], pytester: pytest.Pytester
) -> None:
    before, after = before_and_after
    few = ["-T", f"concepts={','.join(concepts_of(0))}", "-T", "documents=info", "-m", "gates"]
    few += ["-T", f"families={','.join(FEW['families'])}"]
    shipped = ("--pyargs", "introbench.regression", *few)
    saved = pytester.runpytest_inprocess(*shipped, "--model", f"inject/{before}", "--save-baseline", "b.json")
    saved.assert_outcomes(passed=1, deselected=17)
    compared = pytester.runpytest_inprocess(*shipped, "--model", f"inject/{after}", "--baseline", "b.json")
    compared.assert_outcomes(failed=1, deselected=17)
    rows = [line.split() for line in compared.outlines if line.startswith("shift ")]
    by_family = {row[2]: row for row in rows if len(row) > 5}
    assert float(by_family["introspection"][5]) == pytest.approx(0.2, abs=0.03)
    assert by_family["introspection"][8] == "CHANGED"
    for family in ("always_no", "always_yes", "ambiguous"):
        assert by_family[family][8] == "within", "what was not planted is not found"


@pytest.mark.slow
def test_a_check_that_cannot_be_made_is_named(before_and_after: tuple[Path, Path], pytester: pytest.Pytester) -> None:
    model = f"inject/{before_and_after[0]}"
    result = pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "introbench.regression",
            "--model",
            model,
            "-m",
            "invariants",
            "-q",
            "-T",
            "concepts=volcano,violin",
        )
    )
    assert result.parseoutcomes() == {"passed": 14, "skipped": 1, "deselected": 3}
    result.stdout.fnmatch_lines(["1 skipped: one BOS: not checked: the tokenizer has no BOS"])


@pytest.mark.slow
def test_other_seeds_and_batch_sizes_raise_no_alarm(tiny_folder: Path, tmp_path: Path) -> None:
    arguments = FEW | {"concepts": ["cats", "bread"], "formats": "yes-no", "layers": "1:3", "strength": 3}

    def record(number: int, seed: int, memory: float | None) -> Any:
        session = Session(tmp_path / str(number), {} if memory is None else {"memory": memory})
        return session.evaluate(f"inject/{tiny_folder}", TASK, None, arguments | {"seed": seed}).record

    first = record(0, 0, None)
    for number, (seed, memory) in enumerate([(1, 0.002), (2, 0.02)], start=1):
        again = record(number, seed, memory)
        assert again.digest == first.digest
        for metric in ("shift", "log_odds"):
            for change in changes(first, again, metric):
                assert abs(change.difference.estimate) < 1e-4
                assert not change.exceeds(1e-3)
        assert any(
            again.trials[question][concept]["random"] != values["random"]
            for question, concepts in first.trials.items()
            for concept, values in concepts.items()
        ), "the random vectors are others"
