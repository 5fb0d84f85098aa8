"""The logit lens task through Inspect, against a plain computation."""

from pathlib import Path

import numpy as np
import pytest
from helpers import evaluate, numbers, tokens_of, two_passes
from inspect_ai.log import EvalLog

from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.report import log as log_report
from introbench.steering.injection import VectorRecipe


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate(
        "logit_lens",
        tiny_folder,
        tmp_path_factory.mktemp("logs"),
        concepts=["cats", "bread", "love"],
        documents=["none", "info"],
        layers="1:3",
        strength=3,
        random_vectors=2,
    )


def test_every_layer_equals_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in (log.samples or [])[::7]:
        forms = (sample.output.metadata or {})["forms"]
        ids = {name: [runtime.tokenizer(form)["input_ids"][0] for form in each] for name, each in forms.items()}
        directions = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
        exact = sample.scores["introbench/lens_gap"].metadata
        for arm, strength in (("sham", 0.0), ("concept", 3.0)):
            added = {layer: strength * directions[layer] for layer in (1, 2)}
            own, lens = two_passes(model, *tokens_of(runtime.tokenizer, sample), added)
            yes, no = ([float(block[ids[name]].logsumexp(0)) for block in lens] for name in ("yes", "no"))
            assert exact["log_odds"][arm] == pytest.approx(np.subtract(yes, no).tolist(), abs=1e-4)
            assert exact["p_yes"][arm] == pytest.approx(np.exp(yes).tolist(), rel=1e-4)
            answer = float(own[ids["yes"]].logsumexp(0) - own[ids["no"]].logsumexp(0))
            assert exact["log_odds"][arm][-1] == pytest.approx(answer, abs=1e-4), "the last layer is the answer itself"


def test_nothing_differs_below_the_first_steered_layer(log: EvalLog) -> None:
    for sample in log.samples or []:
        gaps = sample.scores["introbench/lens_gap"].metadata["gaps"]
        assert gaps["concept"][0] == gaps["random 1 (impact)"][0] == 0.0
        assert gaps["concept"][2] != 0.0


def test_metrics_and_table_say_where_the_gap_peaks(log: EvalLog) -> None:
    found = numbers(log)
    for document in ("none", "info"):
        samples = [s for s in log.samples or [] if s.metadata["document"] == document]
        gaps = np.array([s.scores["introbench/lens_gap"].metadata["gaps"]["concept"] for s in samples])
        assert found[f"peak layer | {document}"] == gaps.mean(axis=0).argmax()
        assert found[f"final | {document}"] == pytest.approx(gaps.mean(axis=0)[-1])
        assert found[f"suppression | {document}"] == pytest.approx(
            found[f"peak gap | {document}"] - found[f"final | {document}"]
        )
        assert found[f"missing | {document}"] == 0
    table = log_report.log_table(log.location, full=True)
    assert "Document info, layer by layer" in table
    assert "peak layer" in table
    sample = (log.samples or [])[0]
    arms, layers = sample.scores["introbench/lens_gap"].explanation.split("\n\n")
    assert len(arms.splitlines()) == 2 + len(sample.metadata["arms"])
    assert "top tokens" in arms
    assert len(layers.splitlines()) == 2 + 4


def test_numbers_that_are_not_finite_are_counted(tiny_folder: Path, tmp_path: Path) -> None:
    broken = evaluate("logit_lens", tiny_folder, tmp_path, strength=1e300, documents="none", concepts="cats", limit=4)
    assert broken.status == "success"
    assert numbers(broken)["missing | none"] == 4
