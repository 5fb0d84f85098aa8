"""The task of dose and response through Inspect."""

import math
from pathlib import Path

import pytest
from helpers import evaluate, numbers

from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.report import log as log_report
from introbench.steering.injection import Injection, Strength, VectorRecipe, sham


def test_the_task_shows_doses_and_proposes_a_strength(tiny_folder: Path, tmp_path: Path) -> None:
    log = evaluate(
        "calibrate", tiny_folder, tmp_path, concepts=["cats", "bread"], layers="1:3", strengths=[0.5, 2, "kl:0.1"],
        samples=1, length=4,
    )  # fmt: skip
    assert log.status == "success"
    found = numbers(log)
    assert found["dose | kl:0.1"] == pytest.approx(0.1, rel=0.05)
    assert 0 < found["dose | 0.5"] < found["dose | 2"]
    runtime = next(iter(resident.RESIDENT.values()))
    cached = [Injection(VectorRecipe("pca_center", word), (1, 3), Strength(2)) for word in ("cats", "bread")]
    _, *doses = runtime.strengths.doses(runtime.strengths.resolve([sham((1, 3)), *cached]))
    assert found["dose | 2"] == pytest.approx(sum(doses) / 2, rel=1e-4), "the dose is that of the cached injection"
    table = log_report.log_table(log.location, full=True)
    assert ("Proposed: -T strength=" in table) == math.isfinite(found["proposed norm"])
    assert "dose (nats)" in table
    with pytest.raises(PrerequisiteError, match="strengths="):
        evaluate("calibrate", tiny_folder, tmp_path, strengths=[2, 2])
