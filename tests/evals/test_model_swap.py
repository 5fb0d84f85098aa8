"""The model swap task through Inspect, against a plain computation."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import evaluate, numbers, tokens_of, two_passes
from inspect_ai.log import EvalLog

from introbench.analysis.model_swap import ArmTrial, arm_contrasts, arm_shifts
from introbench.analysis.noticed import MATCHED
from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.records.factors import Plan
from introbench.report import log as log_report
from introbench.steering.injection import MODEL_CONTRAST, VectorRecipe

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
            own, _ = two_passes(base, *tokens_of(runtime.tokenizer, sample), added, filler=filler)
            measured = sample.scores["introbench/arm_shifts"].metadata
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
    table = log_report.log_table(log.location, full=True)
    assert "finetune: introspection - always_no" in table
    assert (log.samples or [])[0].scores["introbench/arm_shifts"].value.keys() == set(ARMS)


@pytest.mark.slow
def test_the_base_itself_as_fine_tune_moves_nothing_bit_for_bit(tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    still = evaluate("model_swap", tiny_folder, tmp_path, finetune=str(copy), **SMALL)
    assert still.status == "success"
    for sample in still.samples or []:
        assert sample.scores["introbench/arm_shifts"].metadata["shifts"]["finetune"] == 0.0
    assert numbers(still)["finetune: introspection | info"] == 0.0


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
