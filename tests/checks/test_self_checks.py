"""Self-checks: runs that are as they should be pass, and say what could not be checked."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checked_readings import BATCH, BREAD, SMALL, TURNS, asked_of
from helpers import evaluate
from inspect_ai.log import EvalLog
from transformers import PreTrainedTokenizerFast

from introbench.checks.record import SECONDS
from introbench.checks.self_checks import CHECKS
from introbench.engine.packed_path import FastPath
from introbench.engine.pieces import QuestionTries
from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.provider.loaded_model import LoadedModel
from introbench.report import log as log_report
from introbench.steering.injection import Strength, sham
from introbench.validation.tiny_models import tiny_model


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    """A loaded model whose run has failed a check answers nothing any more."""
    resident.RESIDENT.clear()
    yield
    resident.RESIDENT.clear()


def folder_of(architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, **options: object) -> Path:
    options |= {"n_positions": 1024} if architecture == "gpt2" else {"max_position_embeddings": 1024}
    if architecture == "gemma2":
        options |= {"sliding_window": 512}
    tiny_model(architecture, vocab_size=49152, **options).save_pretrained(tmp_path / architecture)
    tokenizer.save_pretrained(tmp_path / architecture)
    return tmp_path / architecture


def record_of(log: EvalLog) -> dict[str, Any]:
    assert log.status == "success", log.error
    outputs = [sample.output.metadata or {} for sample in log.samples or []]
    return next(output["self_checks"] for output in outputs if "self_checks" in output)


@pytest.mark.parametrize(
    "architecture",
    ["llama", "falcon", pytest.param("gemma2", marks=pytest.mark.slow), pytest.param("gpt2", marks=pytest.mark.slow)],
)
def test_a_run_that_is_as_it_should_be_passes(
    architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log = evaluate("introspection", folder_of(architecture, tokenizer, tmp_path), tmp_path, **SMALL)
    record = record_of(log)
    assert set(record) == set(CHECKS) | {SECONDS}
    assert not [name for name, value in record.items() if str(value).startswith("not checked")]
    for name in ("sham is plain", "cache is clean", "spans"):
        assert record[name] < 1e-4
    assert record["arms in order"] > 1e-3
    table = log_report.log_table(log.location, full=True)
    (line,) = [line for line in table.splitlines() if line.startswith("Self-checks:")]
    assert line.startswith("Self-checks: 13 passed (")
    assert "sham is plain" in line
    # A log's times are whole seconds: a run of less than one has no share of its time.
    assert re.search(r"\), (\d+\.\d% of the time|\d+\.\d s)\.$", line)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_checked_too(tiny_folder: Path, dtype: str) -> None:
    model = LoadedModel(Checkpoint(str(tiny_folder), dtype=dtype))
    model.read(asked_of(tiny_folder), BATCH)
    found = model.self_checks(BATCH).values
    assert found["float32 readout"] == "ok"
    assert 0 < float(found["spans"]) < 0.3


@pytest.mark.parametrize("architecture", ["llama", pytest.param("falcon", marks=pytest.mark.slow)])
def test_every_kind_of_arm_is_compared(architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folder = folder_of(architecture, tokenizer, tmp_path)
    model = LoadedModel(Checkpoint(str(folder)))
    cats = BATCH[1]
    kinds = [
        [replace(cats, steering="active")],
        [replace(cats, spans=((2, 5, 1.0), (7, 9, 0.5))), replace(cats, spans=((4, 6, 1.0),))],
        [replace(cats, strength=Strength(-3.0)), replace(cats, layers=(2, 3))],
        [replace(cats, batch=0), replace(sham((1, 3)), batch=1), replace(cats, vector=BREAD, batch=1)],
    ]
    for number, kind in enumerate(kinds):
        batch = (sham((1, 3)), *kind)
        model.begin_run()
        model.read(asked_of(folder), batch)
        found = model.self_checks(batch).values
        assert float(found["spans"]) < 1e-4, number
        assert number == 0 or float(found["arms in order"]) > 1e-3


def test_the_questions_after_the_checked_ones_find_the_cache_filled(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LoadedModel(Checkpoint(str(tiny_folder), device="cpu"))
    first, second = asked_of(tiny_folder), asked_of(tiny_folder, (*TURNS[:3], ("user", "Is it so?"), TURNS[4]))
    model.read(first, BATCH)
    assert model.self_checks(BATCH).values["cache is clean"] < 1e-4, "the checks were made"
    read = []
    take = FastPath._in_pieces
    monkeypatch.setattr(FastPath, "_in_pieces", lambda path, text, *rest: (read.append(text), take(path, text, *rest)))
    model.read(second, BATCH)
    assert {type(text) for text in read} == {QuestionTries}, "the prior turn is not read again"


def test_what_cannot_be_checked_says_so(tiny_folder: Path) -> None:
    model = LoadedModel(Checkpoint(str(tiny_folder)))
    asked = asked_of(tiny_folder)
    for batch in (BATCH[:1], BATCH[:2], BATCH[:3]):
        model.read(asked, batch)
    assert model.self_checks(BATCH[:1]).values["spans"] == "not checked: nothing is injected"
    assert model.self_checks(BATCH[:3]).values["spans"] == "not checked: on banks 1, 2, 4, 8 and so on of a run alone"
    absurd = (BATCH[0], replace(BATCH[1], strength=Strength(1e300)))
    model.read(asked, absurd)
    assert model.self_checks(absurd).values["finite"] == "ok", "arms that are not finite are counted elsewhere"
