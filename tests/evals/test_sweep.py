"""The sweep task through Inspect: each cell against a plain computation, its table, its picture."""

from pathlib import Path

import numpy as np
import pytest
from helpers import evaluate, numbers, tokens_of, two_passes
from inspect_ai.log import EvalLog

from introbench import cli
from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.report import log as log_report
from introbench.steering.injection import VectorRecipe


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate(
        "sweep",
        tiny_folder,
        tmp_path_factory.mktemp("logs"),
        concepts=["cats", "bread"],
        ranges="triangle:2",
        strengths=[2, 8],
        documents="none",
        families=["introspection", "always_no", "always_yes"],
        random_vectors=2,
    )


def test_every_cell_equals_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in (log.samples or [])[::9]:
        exact = sample.scores["introbench/swept"].metadata
        assert exact["axes"] == {
            "layers": ["0:2", "0:4", "2:4"],
            "strength": ["2", "8"],
            "vector": ["cats", "bread", "random cats-0", "random bread-0"],
        }
        forms = (sample.output.metadata or {})["forms"]
        ids = {name: [runtime.tokenizer(form)["input_ids"][0] for form in each] for name, each in forms.items()}

        def odds(added: dict[int, object], ids: dict[str, list[int]] = ids, sample: object = sample) -> float:
            own, _ = two_passes(model, *tokens_of(runtime.tokenizer, sample), added)  # type: ignore[arg-type]
            return float(own[ids["yes"]].logsumexp(0) - own[ids["no"]].logsumexp(0))

        baseline = odds({})
        assert exact["baseline"] == pytest.approx([baseline] * 3, abs=1e-4)
        for row, (start, stop) in enumerate([(0, 2), (0, 4), (2, 4)]):
            for column, strength in enumerate([2.0, 8.0]):
                for index, recipe in enumerate(
                    [VectorRecipe("pca_center", "cats"), VectorRecipe("pca_center", "bread", seed=0)]
                ):
                    vector = runtime.library.directions(recipe)
                    expected = odds({layer: strength * vector[layer] for layer in range(start, stop)}) - baseline
                    found = exact["shift"][row][column][0 if index == 0 else 3]
                    assert found == pytest.approx(expected, abs=1e-4)
        assert np.array(exact["dose"]).shape == (3, 2, 4)
        assert np.array(exact["dose"]).min() > 0
        assert len(sample.output.choices) == 1, "hundreds of arms have no choices of their own"


def test_metrics_table_and_picture(log: EvalLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.status == "success"
    found = numbers(log)
    values = [
        np.array(s.scores["introbench/swept"].metadata["shift"])[1, 1, :2].mean()
        for s in log.samples or []
        if s.metadata["family"] == "always_no"
    ]
    assert found["always_no | 0:4 x8 | none"] == pytest.approx(np.mean(values))
    for family in ("excess", "introspection", "always_no", "always_yes"):
        assert f"held out: {family} | none | low" in found
        assert f"{family} | 2:4 x2 | none | high" in found
    table = log_report.log_table(log.location, full=True)
    assert "the best cell, chosen on half of the concepts and questions" in table
    assert "cats choose" in table
    assert cli.main(["plot", log.location, "--out", str(tmp_path / "maps" / "sweep.png")]) == 0
    assert (tmp_path / "maps" / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    assert "sweep.png" in capsys.readouterr().out


def test_strengths_that_break_the_numbers_are_counted_and_not_fatal(tiny_folder: Path, tmp_path: Path) -> None:
    broken = evaluate(
        "sweep", tiny_folder, tmp_path, concepts=["cats", "bread"], ranges="1:3", strengths=[2, 1e300],
        documents="none", families=["introspection", "always_no"], limit=4,
    )  # fmt: skip
    assert broken.status == "success"
    exact = (broken.samples or [])[0].scores["introbench/swept"].metadata
    assert exact["shift"][0][1] == [None, None]
    assert None not in exact["shift"][0][0]
    assert "not finite" in log_report.log_table(broken.location, full=True)


@pytest.mark.usefixtures("nothing_loaded")
def test_refusals_come_before_weights_load(tiny_folder: Path, tmp_path: Path) -> None:
    for arguments, what in (({"ranges": "triangle"}, "ranges="), ({"strengths": [4, 4]}, "strengths=")):
        with pytest.raises(PrerequisiteError, match=what):
            evaluate("sweep", tiny_folder, tmp_path, **arguments)
    assert resident.RESIDENT == {}
