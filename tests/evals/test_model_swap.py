"""The model swap task through Inspect, against a plain computation."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import evaluate, numbers, tokens_of, two_passes
from inspect_ai.log import EvalLog

from introbench import cli
from introbench.analysis.model_swap import ArmTrial, arm_contrasts, arm_shifts
from introbench.analysis.noticed import MATCHED
from introbench.engine import Request, Want
from introbench.models.checkpoint import Checkpoint
from introbench.models.disk_cache import sha256_of
from introbench.page.recompute import recompute
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.records.factors import Plan
from introbench.report import log as log_report
from introbench.scorers.model_swap import arm_shifts as arm_scorer
from introbench.steering.injection import MODEL_CONTRAST, Strength, VectorRecipe
from introbench.steering.model_swap import Swap
from introbench.steering.vectors.control_file import read_control_file

SMALL: dict[str, Any] = {
    "documents": ["none", "info"],
    "families": ["introspection", "always_no", "always_yes"],
    "layers": "1:3",
    "strength": 3,
    "random_vectors": 2,
}
ARMS = ["finetune", "contrast +", "contrast -", "finetune, contrast -", "random"]


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tuned_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("model_swap", tiny_folder, tmp_path_factory.mktemp("logs"), finetune=str(tuned_folder), **SMALL)


def test_every_arm_equals_a_plain_computation(log: EvalLog, tiny_folder: Path, tuned_folder: Path) -> None:
    base, tuned = (Checkpoint(str(folder), device="cpu").load() for folder in (tiny_folder, tuned_folder))
    runtime = next(iter(resident.RESIDENT.values()))
    vector = runtime.library.directions(VectorRecipe(MODEL_CONTRAST, str(tuned_folder)))
    assert not vector[0].any(), "the first block was not tuned: there is no direction, rather than one of rounding"
    assert vector[1:].norm(dim=-1).tolist() == pytest.approx([1, 1, 1])
    for sample in (log.samples or [])[::9]:
        forms = (sample.output.metadata or {})["forms"]
        ids = {name: [runtime.tokenizer(form)["input_ids"][0] for form in each] for name, each in forms.items()}
        for arm, filler, sign in (
            ("sham", base, 0),
            ("finetune", tuned, 0),
            ("contrast +", base, 1),
            ("contrast -", base, -1),
            ("finetune, contrast -", tuned, -1),
        ):
            added = {layer: sign * 3.0 * vector[layer] for layer in (1, 2)}
            own, lens = two_passes(base, *tokens_of(runtime.tokenizer, sample), added, filler=filler)
            measured = sample.scores["introbench/arm_shifts"].metadata
            assert ("lens" in measured) == (sample.metadata["family"] == "introspection")
            if "lens" in measured:
                by_layer = [float(block[ids["yes"]].exp().sum()) for block in lens]
                assert measured["lens"]["p_yes"][arm] == pytest.approx(by_layer, rel=1e-4), arm
            assert measured["p_yes"][arm] == pytest.approx(float(own[ids["yes"]].exp().sum()), rel=1e-4), arm
            assert measured["p_no"][arm] == pytest.approx(float(own[ids["no"]].exp().sum()), rel=1e-4), arm


def test_arms_differ_and_are_summed_up(log: EvalLog) -> None:
    found = numbers(log)
    for arm in ARMS:
        values = [
            s.scores["introbench/arm_shifts"].metadata["shifts"][arm]
            for s in log.samples or []
            if (s.metadata["document"], s.metadata["family"]) == ("info", "always_no")
        ]
        assert found[f"{arm}: always_no | info"] == pytest.approx(np.mean(values))
        assert abs(found[f"{arm}: always_no | info"]) > 1e-4
        assert f"{arm}: {MATCHED} | none" in found
    lenses = [s.scores["introbench/arm_shifts"].metadata.get("lens") for s in log.samples or [] if "info." in str(s.id)]
    by_layer = np.mean([lens["gaps"]["contrast +"] for lens in lenses if lens], axis=0)
    assert found["peak gap | contrast + | info"] == pytest.approx(by_layer.max())
    assert found["peak layer | contrast + | info"] == by_layer.argmax()
    assert found["final | contrast + | info"] == pytest.approx(found["contrast +: introspection | info"], abs=1e-6)
    assert found["lens: peak gap"] == found["peak gap | finetune | info"]
    table = log_report.log_table(log.location, full=True)
    assert "Document none, layer by layer" in table
    assert "finetune: introspection - always_no" in table
    assert (log.samples or [])[0].scores["introbench/arm_shifts"].value.keys() == {"document", "family", *ARMS}


def test_what_the_log_says_of_layers_is_computed_again(log: EvalLog) -> None:
    found = recompute(log.location, "arm_shifts", arm_scorer())
    assert not found.differences
    assert found.trials == len(log.samples or [])
    assert log.results
    assert found.metrics == len(log.results.scores[0].metrics)


def test_the_vector_from_a_file_is_the_arms_own(
    log: EvalLog, tiny_folder: Path, tuned_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vectors"
    assert cli.main(["vectors", str(folder), "--model", str(tiny_folder), "--finetune", str(tuned_folder)]) == 0
    path = folder / f"{tuned_folder.name}.gguf"
    assert str(path) in capsys.readouterr().out.splitlines()
    runtime = next(iter(resident.RESIDENT.values()))
    own = runtime.library.directions(VectorRecipe(MODEL_CONTRAST, str(tuned_folder)))
    file = read_control_file(path, n_layers=4, hidden=32)
    assert torch.equal(file.directions[1:], own[1:]), "files hold nothing for block 0"
    assert file.finetune == str(tuned_folder)
    prior, question = tokens_of(runtime.tokenizer, (log.samples or [])[0])
    in_memory = Swap(str(tuned_folder), (1, 3), Strength(3.0), 2, 0).batch[:5]
    digest = sha256_of(path)
    from_file = [
        replace(each, vector=each.vector and replace(each.vector, file=str(path), digest=digest)) for each in in_memory
    ]
    own_reading, read_back = runtime.engine.read(
        [
            Request((*prior, *question), len(prior), Want((5, 9), lens=True), runtime.strengths.arms(resolved))
            for resolved in map(runtime.strengths.resolve, (in_memory, from_file))
        ]
    )
    assert torch.equal(read_back.lens, own_reading.lens), "after every block, and in the answer, under every arm"
    steered = {"documents": ["none", "info"], "layers": "1:3", "strength": 3, "random_vectors": 0}
    again = evaluate("logit_lens", tiny_folder, tmp_path, vectors=str(folder), **steered)
    assert again.status == "success"
    assert again.eval.metadata
    assert again.eval.metadata["method"] == MODEL_CONTRAST
    assert again.eval.metadata["vector_files"][tuned_folder.name]["finetune"] == str(tuned_folder)
    first = {str(sample.id): sample.scores["introbench/arm_shifts"].metadata for sample in log.samples or []}
    for sample in again.samples or []:
        in_swap, exact = first[str(sample.id)], sample.scores["introbench/lens_gap"].metadata
        for arm, swapped in (("sham", "sham"), ("concept", "contrast +")):
            assert exact["p_yes"][arm] == pytest.approx(in_swap["lens"]["p_yes"][swapped], abs=1e-6)
            # Float32 rounds log-odds otherwise in a batch of other arms.
            assert exact["log_odds"][arm][-1] == pytest.approx(in_swap["log_odds"][swapped], abs=1e-5)
        assert exact["gaps"]["concept"] == pytest.approx(in_swap["lens"]["gaps"]["contrast +"], abs=1e-5)
        records = {record["arm"]: record for record in (sample.output.metadata or {})["arms"]}
        assert records["concept"]["vector"] == f"{tuned_folder.name} - base"
        assert records["concept"]["live"] is None, "a contrast of models has no word that it brings to mind"


@pytest.mark.slow
def test_the_base_itself_as_fine_tune_moves_nothing_bit_for_bit(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    still = evaluate("model_swap", tiny_folder, tmp_path, finetune=str(copy), **SMALL)
    assert still.status == "success"
    for sample in still.samples or []:
        exact = sample.scores["introbench/arm_shifts"].metadata
        assert exact["shifts"]["finetune"] == 0.0
        if sample.metadata["family"] == "introspection":
            assert exact["lens"]["gaps"]["finetune"] == [0.0] * 4, "at no layer"
            assert exact["lens"]["p_yes"]["finetune"] == exact["lens"]["p_yes"]["sham"]
    found = numbers(still)
    assert found["finetune: introspection | info"] == 0.0
    assert found["peak gap | finetune | info"] == found["suppression | finetune | info"] == 0.0
    folder = str(tmp_path / "vectors")
    assert cli.main(["vectors", folder, "--model", str(tiny_folder), "--finetune", str(copy)]) == 2
    assert "moves no state of the model" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_loaded")
def test_refusals_come_before_weights_load(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="finetune: none given for inject/"):
        evaluate("model_swap", tiny_folder, tmp_path, **SMALL)
    with pytest.raises(PrerequisiteError, match="cannot be found or read"):
        evaluate("model_swap", tiny_folder, tmp_path, finetune=str(tmp_path / "nowhere"), **SMALL)
    assert resident.RESIDENT == {}


def trials(effect: dict[str, float]) -> list[ArmTrial]:
    """Arm `a` moves each family by a known amount, and pushes every answer by 0.3 toward yes."""
    draw = np.random.default_rng(5)
    several = []
    for family, size in effect.items():
        for item in range(12):
            sign = -1.0 if family == "introspection" and item % 3 == 0 else 1.0
            shift = size + sign * 0.3 + 0.05 * draw.standard_normal()
            several.append(ArmTrial("info", family, f"{family}-{item}", "yes-no", sign, {"a": sign * shift}))
    return several


def test_contrasts_of_arms_find_what_was_planted_and_cancel_a_push_toward_yes() -> None:
    planted = trials({"introspection": 1.0, "always_no": 0.0, "always_yes": 0.0})
    plan = Plan(["info"], ["introspection", "always_no", "always_yes"])
    for result in arm_contrasts(planted, ["a"], plan):
        assert result.interval.low < 1.0 < result.interval.high, result.name
        assert result.interval.low > 0.6
        assert result.interval.estimate == pytest.approx(1.0, abs=0.06), "the controls' push has been taken away"
    still = trials({"introspection": 0.0, "always_no": 0.0, "always_yes": 0.0})
    covered = [r.interval.low < 0 < r.interval.high for r in arm_contrasts(still, ["a"], plan)]
    assert all(covered), "a push toward yes alone is no introspection"
    means = {r.name: r.interval.estimate for r in arm_shifts(planted, ["a"], plan)}
    assert means["a: always_no"] == pytest.approx(0.3, abs=0.05)
    assert arm_shifts(planted[::-1], ["a"], plan) == arm_shifts(planted, ["a"], plan)


def test_lost_trials_of_an_arm_are_counted() -> None:
    lost = [
        *trials({"introspection": 1.0}),
        ArmTrial("info", "always_no", "x", "yes-no", 1.0, {"a": math.nan}),
        ArmTrial("info", "always_no", "y", "yes-no", 1.0, {}),
    ]
    plan = Plan(["info"], ["introspection", "always_no"])
    (contrast,) = arm_contrasts(lost, ["a"], plan)
    assert contrast.missing == 2
    assert math.isnan(contrast.interval.estimate)
